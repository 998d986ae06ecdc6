"""The files that the tests load, written once a session; --full adds whole sd15 and sdxl checkpoints."""
import tempfile
from pathlib import Path

import checkpoints
import cli
import pytest

SMALL_MODELS = ("sd15-tiny", "tiny-20000", "sharded", "all-dtypes", "odd-shapes")
FULL_MODELS = ("sd15", "sdxl")


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="also load sd15 and sdxl at full size (9 GB on disk)")


def pytest_generate_tests(metafunc):
    if "model_name" in metafunc.fixturenames:
        full = metafunc.config.getoption("full")
        metafunc.parametrize("model_name", SMALL_MODELS + (FULL_MODELS if full else ()))


def pytest_sessionstart():
    if not cli.BINARY.exists():
        pytest.exit(f"{cli.BINARY} is not built; build it, or set LONGSHORE_BIN", returncode=1)


def small_layout(count=24, elements=50_000):
    """Tensors of odd sizes, so that none but the first is aligned to anything."""
    return {f"layers.{i}.weight": ("F16", [elements + 37 * i]) for i in range(count)}


def all_dtypes():
    """One tensor of each type of the format, and an odd number of elements where the type's bits allow it."""
    return {
        f"of.{dtype}": (dtype, [3, 40] if bits % 8 else [7, 33]) for dtype, bits in checkpoints.DTYPE_BITS.items()
    }


def odd_shapes():
    return {
        "scalar": ("F32", []),
        "scalar.byte": ("U8", []),
        "nothing": ("F16", [0]),
        "nothing.wide": ("F32", [4096, 0, 3]),
        "one": ("F64", [1, 1, 1, 1, 1]),
        "name with spaces, \u00fcml\u00e4uts and \u201cquotes\u201d": ("BF16", [17]),
    }


@pytest.fixture(scope="session")
def data():
    """A folder on the disk that the build is on: direct reads are refused by some memory file systems."""
    build = cli.ROOT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="e2e-", dir=build) as folder:
        yield Path(folder)


class Models:
    """Writes each model when it is first asked for, and remembers its digests."""

    def __init__(self, data):
        self.data, self.known = data, {}

    def __call__(self, name):
        if name not in self.known:
            path = self.write(name)
            self.known[name] = path, checkpoints.digests(path)
        return self.known[name]

    def write(self, name):
        if name == "sharded":
            return checkpoints.write_sharded(self.data / "sharded", small_layout(), 4)
        if name in FULL_MODELS:  # where the benchmark keeps them too: they are large
            path = cli.ROOT / "build" / "bench-data" / f"{name}.safetensors"
            return path if path.exists() else checkpoints.write(path, checkpoints.layout(name))
        tensors = {
            "sd15-tiny": lambda: checkpoints.layout("sd15-tiny"),
            "tiny-20000": checkpoints.tiny_tensors,
            "all-dtypes": all_dtypes,
            "odd-shapes": odd_shapes,
            "small": small_layout,
        }[name]()
        return checkpoints.write(self.data / f"{name}.safetensors", tensors)


@pytest.fixture(scope="session")
def models(data):
    """models(name) -> (path to load, {tensor name: digest})."""
    return Models(data)


@pytest.fixture
def small(models):
    """A file of 24 tensors that no test may change."""
    return models("small")[0]


@pytest.fixture
def own_copy(small, tmp_path):
    """The same file again, for tests that damage it."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(small.read_bytes())
    return path


@pytest.fixture(scope="session")
def huge(data):
    """4 GiB of zeros that take no room on disk: long enough to load that a signal comes in the middle."""
    tensors = {f"block.{i}": ("F32", [1 << 26]) for i in range(16)}
    return checkpoints.write(data / "huge.safetensors", tensors, sparse=True)
