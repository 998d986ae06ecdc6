"""The package and the examples are right by mypy's strictest word, with the types that the build has made."""
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_examples import DOCS, examples_of

ROOT = Path(__file__).resolve().parents[2]


def complaints(*arguments):
    options = ("--config-file", ROOT / "pyproject.toml", "--cache-dir", ROOT / "build" / "mypy", "--no-error-summary")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *arguments], capture_output=True, text=True, cwd=ROOT / "tests"
    )
    assert not done.stderr, done.stderr
    return done.stdout


def test_the_package():
    assert complaints("-p", "longshore") == ""


@pytest.mark.parametrize("name", DOCS)
def test_the_examples_of_the_docs(name, tmp_path):
    example = tmp_path / "example.py"
    example.write_text("\n".join(examples_of(name)))
    assert complaints(example) == ""


def test_a_mistake_is_noticed(tmp_path):
    mistake = tmp_path / "mistake.py"
    mistake.write_text("import longshore\nlongshore.Runtime(host_limit=[]).load(5)\nlongshore._core.start(1)\n")
    lines = {int(line) for line in re.findall(r"mistake\.py:(\d+): error", complaints(mistake))}
    assert lines == {2, 3}
