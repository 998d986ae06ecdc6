"""Runs the example on a checkpoint and computes the same with torch alone: compare.py PROGRAM CHECKPOINT_TO_WRITE."""
import math
import subprocess
import sys

import torch
from safetensors.torch import save_file

TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float64)


def main(program, path):
    torch.manual_seed(1)
    weights = {f"layer.{i}.weight": torch.randn(64, 48 + i).to(dtype) for i, dtype in enumerate(TYPES)}
    save_file(weights | {"layer.0.bias": torch.randn(64), "steps": torch.arange(6).reshape(2, 3)}, path)
    done = subprocess.run([program, path], capture_output=True, text=True, timeout=60, check=True)
    computed = dict(line.split() for line in done.stdout.splitlines())
    assert computed.keys() == weights.keys(), done.stdout
    for name, weight in weights.items():
        norm = (weight.float() @ torch.ones(weight.shape[1])).norm().item()
        assert math.isclose(float(computed[name]), norm, rel_tol=1e-5), (name, computed[name], norm)
    print(f"{len(weights)} layers answer as they do in torch")


if __name__ == "__main__":
    main(*sys.argv[1:])
