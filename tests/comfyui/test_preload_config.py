"""preload_config.json: where it is found, what counts, what is a problem."""
import json

import pytest
from pack import preload_config
from pack.recipe import Recipe, text_encoder


@pytest.fixture
def read(tmp_path):
    def read(document):
        path = tmp_path / "preload_config.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
        return preload_config.read(str(path))

    return read


def test_the_variable_goes_before_the_folders_and_the_first_folder_before_the_second(tmp_path, monkeypatch):
    monkeypatch.delenv(preload_config.VARIABLE, raising=False)
    folders = [tmp_path / "pack", tmp_path / "user"]
    for folder in folders:
        folder.mkdir()
    assert preload_config.find(map(str, folders)) is None
    (folders[1] / preload_config.NAME).write_text("{}")
    assert preload_config.find(map(str, folders)) == str(folders[1] / preload_config.NAME)
    (folders[0] / preload_config.NAME).write_text("{}")
    assert preload_config.find(map(str, folders)) == str(folders[0] / preload_config.NAME)
    monkeypatch.setenv(preload_config.VARIABLE, "/elsewhere.json")
    assert preload_config.find(map(str, folders)) == "/elsewhere.json"


def test_each_kind_and_each_setting_counts(read):
    config = read(
        {
            "models": {
                "checkpoints": [{"name": "c", "cache_key": "mine", "description": "d"}],
                "text_encoders": [{"clip_names": ["l", "g"], "type": "sdxl", "device": "cpu"}],
                "diffusion_models": [{"model_name": "u", "weight_dtype": "fp8_e4m3fn"}],
                "vaes": [{"vae_name": "v"}, {"vae_name": "w", "enabled": False}],
            },
            "settings": {"auto_gpu_load": True, "verbose": True, "weights": "alias"},
        }
    )
    assert [(item.recipe, item.key) for item in config.items] == [
        (Recipe("ckpt", ("c",)), "mine"),
        (text_encoder(["l", "g"], "sdxl", "cpu"), "l_g_sdxl_cpu"),
        (Recipe("diffusion_model", ("u",), weight_dtype="fp8_e4m3fn"), "u_fp8_e4m3fn"),
        (Recipe("vae", ("v",)), "v"),
    ]
    assert (config.auto_gpu_load, config.verbose, config.weights, config.problems) == (True, True, "alias", [])


@pytest.mark.parametrize(
    "section, entry, problem",
    [
        ("checkpoints", {}, "/models/checkpoints/0: name: the name of a file is expected"),
        ("checkpoints", "c", "an object is expected"),
        ("checkpoints", {"name": 3}, "name: text is expected, not 3"),
        ("text_encoders", {"clip_names": "l"}, "a list of one to four"),
        ("text_encoders", {"clip_names": ["l", "l"]}, "chosen 2 times"),
        ("text_encoders", {"clip_names": ["l"], "device": "gpu"}, "there is no 'gpu'"),
        ("diffusion_models", {"model_name": "u", "weight_dtype": "fp4"}, "there is no 'fp4'"),
        ("loras", {"name": "x"}, "/models/loras: there is no such list"),
    ],
)
def test_what_is_wrong_with_one_entry_leaves_the_others(read, section, entry, problem):
    config = read({"models": {section: [entry], "vaes": [{"vae_name": "v"}]}})
    assert [item.key for item in config.items] == ["v"]
    assert len(config.problems) == 1 and problem in config.problems[0]


def test_one_key_for_two_models_is_a_problem(read):
    entries = [{"name": "a", "cache_key": "k"}, {"name": "b", "cache_key": "k"}]
    config = read({"models": {"checkpoints": entries}})
    assert [item.recipe.files for item in config.items] == [("a",)]
    assert "the key 'k' already stands for a" in config.problems[0]


@pytest.mark.parametrize("document", ["{", "[]", "{}", '{"models": []}'])
def test_what_is_no_configuration_is_an_error_with_the_path(read, document):
    with pytest.raises(preload_config.ConfigError, match="preload_config.json"):
        read(document)


def test_settings_of_the_wrong_type_are_problems(read):
    config = read({"models": {}, "settings": {"verbose": "yes", "weights": "fast"}})
    assert (config.verbose, config.weights, len(config.problems)) == (False, "auto", 2)
