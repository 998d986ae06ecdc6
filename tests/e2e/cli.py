"""Runs the built command line program as a person or a script would, and never waits for it without an end."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("LONGSHORE_BIN", ROOT / "build" / "release" / "longshore"))
TIMEOUT_SECONDS = 120
POLL_SECONDS = 0.002
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
INTERRUPTED = 130  # what shells report of a program that SIGINT ended


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self):
        """stdout as the one JSON object that --json promises."""
        report = json.loads(self.out)
        assert isinstance(report, dict), self.out[:200]
        return report


def command(*arguments):
    return [str(BINARY), *map(str, arguments)]


def run(*arguments, timeout_seconds=TIMEOUT_SECONDS):
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=timeout_seconds, stdin=subprocess.DEVNULL
    )
    return Result(done.returncode, done.stdout, done.stderr)


def run_well(*arguments):
    """Runs a command that must succeed."""
    result = run(*arguments)
    assert result.code == 0, f"exit {result.code}: {result.err[-2000:]}"
    return result


def run_on_terminal(*arguments, environment=()):
    """(exit code, all that the program wrote) with stdin, stdout and stderr on a terminal of its own."""
    master, slave = pty.openpty()
    variables = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm-256color"}
    process = subprocess.Popen(
        command(*arguments), stdin=slave, stdout=slave, stderr=slave, env=variables | dict(environment)
    )
    os.close(slave)
    text, deadline = b"", time.monotonic() + TIMEOUT_SECONDS
    try:
        while select.select([master], [], [], max(0.0, deadline - time.monotonic()))[0]:
            try:
                part = os.read(master, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
            text += part
        return process.wait(timeout=max(1.0, deadline - time.monotonic())), text.decode()
    finally:
        process.kill()
        process.wait()
        os.close(master)


def holds_open(pid, path):
    """Whether the process has the file open or mapped."""
    path = os.path.realpath(path)
    try:
        if any(os.path.realpath(link) == path for link in Path(f"/proc/{pid}/fd").iterdir()):
            return True
        return path in Path(f"/proc/{pid}/maps").read_text()
    except OSError:  # gone between two looks
        return False


def ended_within(process, seconds):
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def interrupt_during(path, *arguments):
    """Sends SIGINT as soon as the program has `path` open; (result, seconds from the signal to its end)."""
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    try:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not holds_open(process.pid, path):
            assert not ended_within(process, POLL_SECONDS), f"ended by itself: {process.communicate()}"
            assert time.monotonic() < deadline, "never opened the file"
        signalled = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT_SECONDS)
        return Result(process.returncode, out, err), time.monotonic() - signalled
    finally:
        process.kill()
        process.wait()
