"""`longshore make-checkpoint` writes files that every reader of the format takes."""
import json

import checkpoints
import pytest
from cli import run, run_well
from safetensors import safe_open

LAYOUT = {
    "model.weight": ("F16", [320, 257]),
    "model.bias": ("F32", [321]),
    "model.norm.weight": ("BF16", [64]),
    "model.position_ids": ("I64", [1, 77]),
    "model.scale": ("F8_E4M3", [11]),
    "model.alpha": ("F32", []),
}


@pytest.fixture
def layout(tmp_path):
    path = tmp_path / "layout.json"
    tensors = {name: {"dtype": dtype, "shape": shape} for name, (dtype, shape) in LAYOUT.items()}
    path.write_text(json.dumps({"tensors": tensors}))
    return path


def contents(path):
    header, _ = checkpoints.read_header(path)
    return {name: (facts["dtype"], facts["shape"]) for name, facts in header.items()}


def test_safetensors_reads_the_layout_back(layout, tmp_path):
    out = tmp_path / "out.safetensors"
    run_well("make-checkpoint", layout, out)
    assert contents(out) == LAYOUT
    with safe_open(out, framework="pt") as file:
        assert {name: list(file.get_tensor(name).shape) for name in file.keys()} == {
            name: shape for name, (_, shape) in LAYOUT.items()
        }


def test_a_seed_gives_the_same_bytes_again(layout, tmp_path):
    made = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        out = tmp_path / f"{name}.safetensors"
        run_well("make-checkpoint", layout, out, "--seed", seed)
        made.append(out.read_bytes())
    first, again, other = made
    assert first == again
    assert first != other


def test_another_dtype_recasts_what_is_floating(layout, tmp_path):
    out = tmp_path / "out.safetensors"
    run_well("make-checkpoint", layout, out, "--dtype", "BF16")
    dtypes = {name: dtype for name, (dtype, _) in contents(out).items()}
    assert dtypes.pop("model.position_ids") == "I64"
    assert set(dtypes.values()) == {"BF16"}


def test_weights_are_finite(layout, tmp_path):
    out = tmp_path / "out.safetensors"
    run_well("make-checkpoint", layout, out)
    with safe_open(out, framework="pt") as file:
        assert all(file.get_tensor(name).float().isfinite().all() for name in file.keys())


def test_a_layout_that_is_none_is_named(tmp_path):
    path = tmp_path / "layout.json"
    path.write_text("[1, 2]")
    result = run("make-checkpoint", path, tmp_path / "out.safetensors")
    assert result.code > 0
    assert "layout.json" in result.err
    assert not (tmp_path / "out.safetensors").exists()
