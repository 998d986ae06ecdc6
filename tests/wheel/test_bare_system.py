"""The package in a fresh virtual environment on a file system with nothing but Python and the C and C++ libraries."""
import ast
import os
import shutil
import sys
import sysconfig
from pathlib import Path

import numpy
import pytest
from conftest import PACKAGE, run

# What a wheel for Linux may take for granted, and Python may not have linked itself: parts of the C and C++ libraries.
GRANTED = ("libpthread.so.0", "libstdc++.so.6", "libgcc_s.so.1")
NOT_NEEDED = ("site-packages", "dist-packages", "test", "__pycache__", "config-*", "*.a")
VERSION = "python{}.{}".format(*sys.version_info)

LOADS = """
from pathlib import Path
folders = [path for path in Path("/").iterdir() if path.name != "proc"]
for name in ("libcaf*.so*", "liburing*.so*", "libxxhash*.so*", "libcuda*.so*"):
    assert {path.parent.name for folder in folders for path in folder.rglob(name)} <= {"longshore.libs"}, name
import longshore.numpy
assert longshore.__file__.startswith("/venv/")
loaded = longshore.numpy.load_file("/model.safetensors")
print({name: array.tobytes() for name, array in loaded.items()})
"""

NEEDS_NAMESPACES = (
    "a file system without the system's libraries takes a mount namespace, which this machine refuses. "
    "Set LONGSHORE_NO_NAMESPACES=1 to do without these tests"
)


def libraries_of(*files):
    """What the loader finds for these files, as paths."""
    for file in files:
        for line in run("ldd", file).stdout.splitlines():
            words = line.replace("=>", "").split()
            yield from [word for word in words if word.startswith("/")][:1]


def copy(root, *paths):
    """To the same places below the root, as what the places lead to."""
    for path in paths:
        target = root / str(path).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def inside(root, *command):
    mounted_proc = 'mount --rbind /proc "$1/proc" && exec chroot "$@"'
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    done = run("unshare", *as_root, "--mount", "sh", "-c", mounted_proc, "sh", root, *command, env={"PATH": os.environ["PATH"]})
    assert not done.stderr.startswith(("unshare:", "mount:", "chroot:")), f"{NEEDS_NAMESPACES}: {done.stderr}"
    return done


@pytest.fixture(scope="module")
def root(folder, model):
    """Python's own files, and a virtual environment with the package and numpy as they are installed here."""
    made = folder / "root"
    python = Path(sys._base_executable).resolve()
    standard = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(standard, made / str(standard)[1:], ignore=shutil.ignore_patterns(*NOT_NEEDED))
    granted = [path for path in libraries_of(PACKAGE / "bin" / "longshore") if Path(path).name in GRANTED]
    copy(made, python, *libraries_of(python, *standard.glob("lib-dynload/*.so")), *granted)
    shutil.copy(model, made)
    (made / "proc").mkdir()
    done = inside(made, python, "-m", "venv", "--without-pip", "/venv")
    assert done.returncode == 0, done.stderr
    numpys = Path(numpy.__file__).parent
    for package in (PACKAGE, PACKAGE.with_name("longshore.libs"), numpys, numpys.with_name("numpy.libs")):
        shutil.copytree(package, made / "venv" / "lib" / VERSION / "site-packages" / package.name)
    yield made
    shutil.rmtree(made)


def test_it_loads_a_file(root, values):
    done = inside(root, "/venv/bin/python", "-c", LOADS)
    assert done.returncode == 0, done.stderr
    assert ast.literal_eval(done.stdout) == {name: array.tobytes() for name, array in values.items()}


def test_the_program_loads_a_file(root, values):
    done = inside(root, "/venv/bin/python", "-m", "longshore", "load", "/model.safetensors", "--digest")
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in values)
