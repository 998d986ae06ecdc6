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
CALM = {"OMP_WAIT_POLICY": "PASSIVE"}  # torch's threads do not spin, so that the tests may share the machine

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


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A folder for ComfyUI with our pack and small models, on the disk that the build is on."""
    import models
    import server

    folder = ROOT / "build" / "comfyui"
    made = server.base_folder(folder)
    if not (made / "models" / "loras" / "lora.safetensors").exists():
        models.write_all(made / "models")
    return made


@pytest.fixture(scope="session")
def real(comfyui, base):
    """One server for all tests that leave it as it is."""
    import server

    with server.Server(comfyui, base, CALM) as running:
        yield running


@pytest.fixture
def own_server(comfyui, base, tmp_path):
    """own_server(environment, arguments) -> a server of the test's own, with models of its own where it copies them."""
    import contextlib

    import server

    with contextlib.ExitStack() as stack:

        def start(environment=None, arguments=(), folder=base):
            return stack.enter_context(server.Server(comfyui, folder, {**CALM, **(environment or {})}, arguments))

        yield start


@pytest.fixture
def own_base(base, tmp_path):
    """A folder for ComfyUI whose models are links to those of `base`, to be replaced and removed."""
    import server

    made = server.base_folder(tmp_path / "comfyui")
    for path in (base / "models").glob("*/*"):
        (made / "models" / path.parent.name / path.name).symlink_to(path)
    return made
