"""A small file, and child processes: what these tests need is in every Python, and numpy."""
import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import longshore._core
import pytest

BUILD = Path(__file__).resolve().parents[2] / "build"
TIMEOUT_SECONDS = 60
SHAPES = {"bias": [7], "empty": [0, 3], "scalar": [], "weight": [300, 500]}
SHAPES |= {f"blocks.{i}.scale": [5] for i in range(500)}  # more than fits what a program buffers of its output

# The package as it is installed, and the program that it brings.
PACKAGE = Path(longshore._core.__file__).parent
PROGRAM = PACKAGE / "bin" / "longshore"

# A machine without namespaces says so in the environment, and does without the tests of a bare file system.
NO_NAMESPACES = os.environ.get("LONGSHORE_NO_NAMESPACES") == "1"
collect_ignore = ["test_bare_system.py"] if NO_NAMESPACES else []


def pytest_report_header():
    return [f"not run, by LONGSHORE_NO_NAMESPACES: {name}" for name in collect_ignore]


@pytest.fixture(scope="session")
def folder():
    """On the disk that the build is on: direct reads are refused by some memory file systems."""
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wheel-", dir=BUILD) as made:
        yield Path(made)


@pytest.fixture(scope="session")
def values():
    """{name: array}, of F32."""
    import numpy

    random = numpy.random.default_rng(5)
    return {name: random.standard_normal(shape, numpy.float32) for name, shape in SHAPES.items()}


@pytest.fixture(scope="session")
def model(folder, values):
    """The same as a file."""
    header, data = {}, b""
    for name, array in values.items():
        header[name] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + array.nbytes],
        }
        data += array.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def run(*command, **options):
    """Runs a command to its end, elsewhere than in the repository: what is imported is what is installed."""
    options = {"cwd": "/", "capture_output": True, "text": True, "stdin": subprocess.DEVNULL} | options
    return subprocess.run([str(part) for part in command], timeout=TIMEOUT_SECONDS, **options)


def run_python(source, *arguments):
    return run(sys.executable, "-I", "-c", source, *arguments)
