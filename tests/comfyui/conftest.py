"""The pack as a package that needs no ComfyUI, small models, and a real ComfyUI where COMFYUI_DIR names one.

A test that takes `comfyui` runs against the real one; without COMFYUI_DIR pytest reports it as skipped, by name.
"""
import importlib.util
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACK = ROOT / "app" / "comfyui"

spec = importlib.util.spec_from_file_location("pack", PACK / "__init__.py", submodule_search_locations=[str(PACK)])
sys.modules["pack"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["pack"])


def pytest_generate_tests(metafunc):
    if "comfyui" in metafunc.fixturenames:
        named = os.environ.get("COMFYUI_DIR")
        metafunc.parametrize("comfyui", [named] if named else [], ids=["real"] if named else [], scope="session")


@pytest.fixture
def write_model(tmp_path):
    """write_model(name, value) -> the path of a safetensors file of two tensors with that value."""
    import torch
    from safetensors.torch import save_file

    def write(name, value=1.0, dtype=torch.float16):
        path = tmp_path / name
        fresh = path.with_suffix(".new")
        save_file({"a": torch.full((4, 8), value, dtype=dtype), "b": torch.full((3,), value, dtype=dtype)}, fresh)
        os.replace(fresh, path)
        return str(path)

    return write
