"""`longshore preload` reads a configuration and puts its models into the cache under their keys."""
import pytest
from cli import run, run_well
from preload_models import config, four_kinds, write_folders

KEYS = {
    "checkpoint.safetensors": "ckpt",
    "encoder.safetensors_encoder_2.safetensors_sdxl_default": "text_encoder",
    "diffusion.safetensors_default": "diffusion_model",
    "my own key": "vae",
}


@pytest.fixture(scope="module")
def folders(data):
    return write_folders(data / "models")


def preload(path, folders, *options):
    return run("preload", path, "--models", folders, "--json", *options)


def by_key(result):
    return {row["key"]: row for row in result.json["models"]}


def test_all_four_kinds_get_their_keys(folders, tmp_path):
    result = preload(config(tmp_path, **four_kinds()), folders)
    assert result.code == 0, result.err
    rows = by_key(result)
    assert {key: row["kind"] for key, row in rows.items()} == KEYS
    assert {key: row["tensors"] for key, row in rows.items()} == {key: 10 if "_2" in key else 5 for key in KEYS}
    assert all(row["bytes"] > 0 and row["seconds"] > 0 and row["digest_ok"] for row in rows.values())


def test_people_get_a_table(folders, tmp_path):
    text = run_well("preload", config(tmp_path, **four_kinds()), "--models", folders).out
    assert all(key in text for key in KEYS)


def test_the_other_folder_names_of_comfyui_are_known(folders, tmp_path):
    root = tmp_path / "models"
    root.mkdir()
    for known, old in (("text_encoders", "clip"), ("diffusion_models", "unet")):
        (root / old).symlink_to(folders / known)
    entries = {kind: four_kinds()[kind] for kind in ("text_encoders", "diffusion_models")}
    assert len(by_key(preload(config(tmp_path, **entries), root))) == 2


def test_several_model_roots_are_searched(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    result = preload(config(tmp_path, **four_kinds()), tmp_path / "empty", "--models", folders)
    assert result.code == 0, result.err
    assert by_key(result).keys() == KEYS.keys()


def test_the_configuration_may_come_after_the_folders(folders, tmp_path):
    result = run("preload", "--models", folders, config(tmp_path, **four_kinds()), "--json")
    assert result.code == 0, result.err
    assert by_key(result).keys() == KEYS.keys()


def test_a_disabled_entry_is_left_out(folders, tmp_path):
    entries = four_kinds()
    entries["vaes"][0]["enabled"] = False
    result = preload(config(tmp_path, **entries), folders)
    assert result.code == 0, result.err
    assert by_key(result).keys() == KEYS.keys() - {"my own key"}


def test_a_model_that_fails_does_not_stop_the_others(folders, tmp_path):
    entries = four_kinds()
    entries["checkpoints"].insert(0, {"name": "absent.safetensors"})
    result = preload(config(tmp_path, **entries), folders)
    assert result.code > 0
    assert "absent.safetensors" in result.err
    loaded = {key for key, row in by_key(result).items() if not row.get("error")}
    assert loaded == KEYS.keys()


WRONG_VALUES = {
    "/models/checkpoints/0/name": ("checkpoints", {"name": 7}),
    "/models/checkpoints/0/enabled": ("checkpoints", {"name": "checkpoint.safetensors", "enabled": "yes"}),
    "/models/text_encoders/0/clip_names": ("text_encoders", {"clip_names": [], "type": "sdxl"}),
    "/models/text_encoders/0/device": (
        "text_encoders", {"clip_names": ["encoder.safetensors"], "type": "sdxl", "device": "toaster"},
    ),
    "/models/diffusion_models/0/weight_dtype": (
        "diffusion_models", {"model_name": "diffusion.safetensors", "weight_dtype": "fp3"},
    ),
    "/models/vaes/0": ("vaes", {"enabled": True}),
}  # fmt: skip


@pytest.mark.parametrize("pointer", WRONG_VALUES)
def test_a_wrong_value_is_named_by_its_json_pointer(pointer, folders, tmp_path):
    kind, entry = WRONG_VALUES[pointer]
    result = preload(config(tmp_path, **{kind: [entry]}), folders)
    assert result.code > 0
    assert pointer in result.err


def test_an_unknown_field_is_a_warning_with_the_nearest_name(folders, tmp_path):
    entry = {"name": "checkpoint.safetensors", "cach_key": "x"}
    result = preload(config(tmp_path, checkpoints=[entry]), folders)
    assert result.code == 0, result.err
    assert "cach_key" in result.err
    assert "cache_key" in result.err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"models": 3}'], ids=["empty", "torn", "list", "no-models"])
def test_a_file_that_is_no_configuration_is_named(text, folders, tmp_path):
    path = tmp_path / "broken.json"
    path.write_text(text)
    result = preload(path, folders)
    assert result.code > 0
    assert "broken.json" in result.err


def test_a_missing_configuration_is_named(folders, tmp_path):
    result = preload(tmp_path / "absent.json", folders)
    assert result.code > 0
    assert "absent.json" in result.err


def test_auto_gpu_load_is_said_to_be_ignored(folders, tmp_path):
    path = config(tmp_path, {"auto_gpu_load": True, "verbose": False}, **four_kinds())
    result = preload(path, folders)
    assert result.code == 0, result.err
    assert "auto_gpu_load" in result.err


def test_nothing_is_drawn_where_there_is_no_terminal(folders, tmp_path):
    result = run_well("preload", config(tmp_path, **four_kinds()), "--models", folders)
    assert not {"\r", "\x1b"} & set(result.out + result.err)


def test_a_trace_is_written(folders, tmp_path):
    trace = tmp_path / "load.perfetto-trace"
    result = preload(config(tmp_path, **four_kinds()), folders, "--trace", trace)
    assert result.code == 0, result.err
    written = trace.read_bytes()
    assert all(actor in written for actor in (b"cache_registry", b"model_holder", b"disk_reader"))
