"""`python -m longshore` and the script `longshore` are the program: its output, its exit codes, its signals."""
import contextlib
import os
import select
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
from conftest import PROGRAM, TIMEOUT_SECONDS, run, run_python

MODULE = [sys.executable, "-m", "longshore"]
SCRIPT = [Path(sysconfig.get_path("scripts"), "longshore")]


@pytest.fixture(params=(MODULE, SCRIPT), ids=("module", "script"))
def way(request):
    return request.param


def outcome(done):
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    (
        ((), 0),
        (("--version",), 0),
        (("inspect", "MODEL"), 0),
        (("inspect", "MODEL", "--json"), 0),
        (("load", "/none.safetensors"), 3),
        (("no-such-command",), 2),
    ),
)
def test_it_is_the_program(way, model, arguments, code):
    arguments = [model if argument == "MODEL" else argument for argument in arguments]
    done = run(*way, *arguments)
    assert done.returncode == code, done.stderr
    assert outcome(done) == outcome(run(PROGRAM, *arguments))


def test_files_that_come_with_it(way, folder):
    path = folder / f"{Path(str(way[0])).name}.safetensors"
    done = run(*way, "make-checkpoint", "sd15-tiny", path)
    assert done.returncode == 0, done.stderr
    assert path.stat().st_size > 1 << 20
    path.unlink()


@pytest.fixture
def stuck(way, model):
    """(the program in the middle of its work, which waits for a pipe that nobody reads; that pipe's other end)."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"." * select.PIPE_BUF)
    os.set_blocking(write, True)
    process = subprocess.Popen([*way, "inspect", model, "--all"], stdout=write, stderr=subprocess.PIPE, text=True, cwd="/")
    os.close(write)
    try:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not is_the_program(process.pid):
            assert process.poll() is None and time.monotonic() < deadline
        yield process, read
    finally:
        process.kill()
        process.communicate()


def is_the_program(pid):
    """It is from the moment on at which it has its thread for signals."""
    here = Path(f"/proc/{pid}")
    return (here / "exe").resolve() == PROGRAM.resolve() and len(list((here / "task").iterdir())) > 1


def test_ctrl_c_is_the_programs(stuck):
    process, read = stuck
    process.send_signal(signal.SIGINT)
    while "stopping" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT_SECONDS) == 130
    os.close(read)


def test_a_reader_that_leaves_ends_it(stuck):
    process, read = stuck
    os.close(read)
    assert process.wait(TIMEOUT_SECONDS) == -signal.SIGPIPE


def test_a_program_that_is_missing():
    done = run_python("import longshore._core as core; core.__file__ = '/nowhere/_core.so'; "
                      "from longshore.__main__ import main; main()")  # fmt: skip
    assert (done.returncode, done.stdout) == (5, "")
    assert "/nowhere/bin/longshore" in done.stderr and "install the package again" in done.stderr
