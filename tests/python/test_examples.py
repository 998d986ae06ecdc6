"""The examples of the docs run as they stand."""
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[2]
DOCS = ("README.md", "app/python/README.md")


def examples_of(name):
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / name).read_text(), re.M | re.S)


@pytest.fixture
def folder(tmp_path):
    save_file({"layer.weight": torch.ones(64, 16), "layer.bias": torch.ones(64)}, tmp_path / "model.safetensors")
    save_file({"decoder.weight": torch.ones(8, 8)}, tmp_path / "vae.safetensors")
    (tmp_path / "models" / "vae").mkdir(parents=True)
    (tmp_path / "models" / "vae" / "vae.safetensors").symlink_to(tmp_path / "vae.safetensors")
    models = {"vaes": [{"vae_name": "vae.safetensors", "cache_key": "preloaded"}]}
    (tmp_path / "preload_config.json").write_text(json.dumps({"version": "1.0", "models": models}))
    return tmp_path


@pytest.mark.parametrize("name", DOCS)
def test_examples_run(name, folder):
    examples = examples_of(name)
    assert examples
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(examples)], capture_output=True, text=True, cwd=folder, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    if name == "app/python/README.md":
        for word in ("100% ready", "latent is no longer in the cache", "preloaded ready", "none.safetensors"):
            assert word in done.stdout, done.stdout
        assert (folder / "loads.perfetto-trace").stat().st_size > 0
