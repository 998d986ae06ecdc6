"""What an import brings along, and what the package says of itself."""
import importlib.metadata
import json
import re
from pathlib import Path

import longshore
from conftest import PACKAGE, PROGRAM, run, run_python

# Libraries that the system has, by the rules for wheels on Linux; the rest comes along.
SYSTEMS_LIBRARIES = r"(libc|libm|libstdc\+\+|libgcc_s|ld-linux-x86-64|libpthread|libdl|librt|linux-vdso)\.so"
HEAVY = {"numpy", "torch", "asyncio", "concurrent.futures", "logging", "inspect", "json", "subprocess", "dataclasses"}


def test_an_import_is_light():
    done = run_python("import sys, json; before = set(sys.modules); import longshore; "
                      "print(json.dumps(sorted(set(sys.modules) - before)))")  # fmt: skip
    brought = set(json.loads(done.stdout))
    assert "longshore._core" in brought and not brought & HEAVY


def test_one_version():
    versions = longshore.__version__, importlib.metadata.version("longshore"), run(PROGRAM, "--version").stdout.strip()
    assert len(set(versions)) == 1, versions


def test_types_come_along():
    assert (PACKAGE / "py.typed").exists()
    assert "def start(" in (PACKAGE / "_core.pyi").read_text()


def test_licences_of_what_comes_along():
    licences = PACKAGE / "licenses"
    for name in ("libcaf-dev", "liburing-dev", "libxxhash-dev", "nanobind"):
        assert "opyright" in (licences / name).read_text(errors="replace"), name


def test_libraries_come_along():
    done = run_python("import longshore; print(open('/proc/self/maps').read())")
    mapped = {Path(path).resolve() for path in re.findall(r"(/\S+\.so[.\d]*)$", done.stdout, re.M)}
    for name in ("caf_core", "uring"):
        assert [path.parent for path in mapped if f"lib{name}" in path.name] == [PACKAGE.parent / "longshore.libs"], name


def test_the_programs_libraries_come_along():
    listed = run(PROGRAM, env={"LD_TRACE_LOADED_OBJECTS": "1"}).stdout
    found = dict(re.findall(r"^\s*(\S+)(?: => (\S+))? \(0x", listed, re.M))
    ours = {name: path for name, path in found.items() if not re.match(SYSTEMS_LIBRARIES, Path(name).name)}
    assert len(ours) >= 3  # CAF, liburing and xxHash
    assert {Path(path).resolve().parent for path in ours.values()} == {PACKAGE.parent / "longshore.libs"}, ours
