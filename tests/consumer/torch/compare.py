"""Runs the examples on checkpoints and computes the same with torch alone: compare.py FOLDER_OF_PROGRAMS."""
import math
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float64)


def lines_of(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()


def compare_layers(folder):
    path = folder / "model.safetensors"
    weights = {f"layer.{i}.weight": torch.randn(64, 48 + i).to(dtype) for i, dtype in enumerate(TYPES)}
    save_file(weights | {"layer.0.bias": torch.randn(64), "steps": torch.arange(6).reshape(2, 3)}, path)
    computed = dict(line.split() for line in lines_of(folder / "consumer", path))
    assert computed.keys() == weights.keys(), computed
    for name, weight in weights.items():
        norm = (weight.float() @ torch.ones(weight.shape[1])).norm().item()
        assert math.isclose(float(computed[name]), norm, rel_tol=1e-5), (name, computed[name], norm)
    print(f"{len(weights)} layers answer as they do in torch")


def compare_stream(folder):
    """Four layers of a quarter of a mebibyte each, of which three have room."""
    path = folder / "blocks.safetensors"
    layers = [torch.nn.Linear(256, 256) for _ in range(4)]
    save_file({f"blocks.{i}.{k}": v for i, layer in enumerate(layers) for k, v in layer.state_dict().items()}, path)
    state = torch.ones(1, 256)
    for step, line in enumerate(lines_of(folder / "stream", path, "host")):
        for layer in layers:
            state = torch.relu(layer(state))
        name, norm = line.split(": ")
        assert name == f"step {step}" and math.isclose(float(norm), state.norm().item(), rel_tol=1e-4), (line, state.norm())
    assert step == 2
    print("a streamed sequence answers as its layers do in torch")


def main(folder):
    torch.manual_seed(1)
    compare_layers(Path(folder))
    compare_stream(Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
