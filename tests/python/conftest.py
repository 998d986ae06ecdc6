"""The files that the tests load, written once a session."""
import tempfile
from pathlib import Path

import checkpoints
import pytest
import torch
from safetensors.torch import save_file

BUILD = Path(__file__).resolve().parents[2] / "build"


@pytest.fixture(scope="session")
def data():
    """A folder on the disk that the build is on: direct reads are refused by some memory file systems."""
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="python-", dir=BUILD) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def every_type(data):
    """A file with a tensor, a scalar and an empty tensor of each type that torch and safetensors know."""
    from safetensors.torch import _SIZE

    tensors = {}
    for dtype in filter(None, _SIZE):
        name = str(dtype).removeprefix("torch.")
        bits = torch.randint(0, 2, (3, 4 * dtype.itemsize), dtype=torch.uint8)  # 0 and 1 are good bytes for bool too
        tensors[f"{name}.matrix"] = bits.view(dtype)
        tensors[f"{name}.empty"] = torch.empty((0, 4), dtype=dtype)
        if "x2" not in name:
            tensors[f"{name}.scalar"] = bits.view(dtype)[0, 0].clone()
    path = data / "every-type.safetensors"
    save_file(tensors, path, metadata={"format": "pt", "who": "test"})
    return path


@pytest.fixture(scope="session")
def plain(data):
    """64 tensors of F32 and F16, 16 MB."""
    tensors = {f"layer.{i:02d}": ("F32" if i % 2 else "F16", [256 + i, 320]) for i in range(64)}
    return checkpoints.write(data / "plain.safetensors", tensors)


@pytest.fixture(scope="session")
def sharded(data):
    tensors = {f"layer.{i}": ("F16", [1000 + i, 37]) for i in range(12)}
    return checkpoints.write_sharded(data / "sharded", tensors, 3)


@pytest.fixture(scope="session")
def huge(data):
    """8 GiB of zeros that take no room on disk: long enough to load that a signal comes in the middle."""
    tensors = {f"block.{i}": ("F32", [1 << 26]) for i in range(32)}
    return checkpoints.write(data / "huge.safetensors", tensors, sparse=True)


@pytest.fixture
def child(tmp_path):
    """child(source, *arguments) -> a started Python that runs the source, its output piped."""
    import subprocess
    import sys

    started = []

    def run(source, *arguments):
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", source, *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()
