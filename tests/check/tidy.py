#!/usr/bin/env python3
"""clang-tidy on every source of the rooms: tidy.py BUILD_FOLDER, a folder with a clang compile_commands.json.

Ends with `N passed, N failed`, a count of sources. A source that passed is not read again before something it is made
of changes: its preprocessed text with comments (where NOLINT stands), the rules, or the way it is compiled. What passed
is kept beside the compiler's cache (XDG_CACHE_HOME, else ~/.cache), so that another clone profits too.
"""
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("messages", "cache", "io", "gpu", "actors", "app")
TIDY = "clang-tidy-19"
PASSED = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "longshore/tidy")


def compiler_arguments(entry):
    """The command of a source without the compiler launcher in front and the output names."""
    words = shlex.split(entry["command"])
    while not re.fullmatch(r"(.*/)?clang\+\+(-\d+)?", words[0]):
        words.pop(0)
    kept, skip = [], False
    for word in words:
        if not skip and word not in ("-o", "-c"):
            kept.append(word)
        skip = word == "-o"
    return kept


def fingerprint(entry):
    command = compiler_arguments(entry)
    text = subprocess.run([*command, "-E", "-C"], cwd=entry["directory"], capture_output=True, check=False)
    if text.returncode:
        return None
    parts = (" ".join(command).encode(), (ROOT / ".clang-tidy").read_bytes(), text.stdout)
    return hashlib.sha256(b"\0".join(parts).replace(bytes(ROOT), b".")).hexdigest()


def check(entry, build):
    """The complaints about one source, or nothing."""
    mark = fingerprint(entry)
    passed = PASSED / str(mark)
    if mark and passed.exists():
        return None
    rooms = "|".join(ROOMS)
    headers = f"--header-filter=^{re.escape(str(ROOT))}/({rooms})/"
    command = [TIDY, "-p", build, "--quiet", headers, "--extra-arg=-Wno-error", entry["file"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stdout + done.stderr
    passed.touch()
    return None


def main(build):
    PASSED.mkdir(parents=True, exist_ok=True)
    entries = json.loads((build / "compile_commands.json").read_text())
    folders = tuple(f"{ROOT}/{room}/" for room in ROOMS)
    sources = [entry for entry in entries if entry["file"].startswith(folders)]
    failed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for entry, complaint in zip(sources, pool.map(lambda entry: check(entry, build), sources)):
            if complaint is not None:
                failed += 1
                print(f"FAILED {entry['file']}\n{complaint}", flush=True)
    print(f"{len(sources) - failed} passed, {failed} failed")
    return 1 if failed or not sources else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
