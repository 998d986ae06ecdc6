"""Measures how fast longshore, the plain limits of the machine, and other loaders bring model files into memory.

    python tests/bench/run.py [--files sd15 sdxl tiny] [--rounds 5] [--only WORD...] [--out DIR] [--readme]

Each round runs every contestant once on a cold file and once on a hot one, each in a process of its own. Before each,
what the page cache holds is set and checked, and memory is touched and freed (page_cache.warm_memory says why). All
bytes are touched inside the timed region, except in `tiny`, which asks how soon 20,000 tensors can be addressed. Writes
results.json, table.md and plot.png. Needs tests/bench/requirements.txt, a C++ compiler with liburing, and fio. The
default files take about 21 GB on disk at the worst moment.
"""
import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import checkpoints
import page_cache
import report
from contestants import HERE, LONGSHORE_BIN, ROOT, Tools, chosen

SCENARIOS = {
    "sd15": lambda: checkpoints.layout("sd15"),
    "sdxl": lambda: checkpoints.layout("sdxl"),
    "tiny": checkpoints.tiny_tensors,
    "sd15-tiny": lambda: checkpoints.layout("sd15-tiny"),  # for trying the benchmark out
}
DEFAULT_FILES = ("sd15", "sdxl", "tiny")
UNTOUCHED = ("tiny",)
PACKAGES = ("torch", "safetensors", "fastsafetensors", "runai-model-streamer", "tensorizer", "numpy")
CHILD_TIMEOUT_SECONDS = 900
MEMORY_HEADROOM_BYTES = 1 << 30


def say(text):
    print(text, file=sys.stderr, flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", nargs="+", choices=SCENARIOS, default=DEFAULT_FILES, help="which files to load")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each contestant and state (default 5)")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="only contestants whose name contains a WORD")
    parser.add_argument("--data", type=Path, default=ROOT / "build" / "bench-data", help="where the files are kept")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="where the results go")
    parser.add_argument("--redraw", action="store_true", help="measure nothing: table and plot from DIR/results.json")
    parser.add_argument("--readme", action="store_true", help="also replace the table in README.md")
    return parser.parse_args()


def build_tools(folder):
    """Compiles the plain reader and the touch library when their sources are newer."""
    folder.mkdir(parents=True, exist_ok=True)
    tools = Tools(folder / "plain_read", folder / "libtouch.so")
    compiler = [os.environ.get("CXX", "c++"), "-std=c++20", "-O2", "-Wall", "-Wextra"]
    plans = {
        tools.plain_read: ["plain_read.cpp", "touch.cpp", "-luring", "-pthread"],
        tools.touch_library: ["touch.cpp", "-shared", "-fPIC"],
    }
    for target, arguments in plans.items():
        sources = [HERE / a if a.endswith(".cpp") else a for a in arguments]
        newest = max(path.stat().st_mtime for path in sources if isinstance(path, Path))
        if not target.exists() or target.stat().st_mtime < newest:
            subprocess.run([*compiler, *map(str, sources), "-o", str(target)], check=True)
    return tools


def check_present(contestants):
    if any(c.group == "longshore" for c in contestants) and not LONGSHORE_BIN.exists():
        raise SystemExit(f"{LONGSHORE_BIN} is not built (or set LONGSHORE_BIN, or leave longshore out with --only)")
    if any(c.name.startswith("fio") for c in contestants) and not shutil.which("fio"):
        raise SystemExit("fio is not installed: apt-get install fio")


def prepare(name, data, contestants):
    """The scenario's file in each format that a contestant needs: {suffix: path}, and {suffix: why there is none}."""
    source = data / f"{name}.safetensors"
    if not source.exists():
        say(f"{name}: writing {source}")
        checkpoints.write(source, SCENARIOS[name]())
    files, refused = {source.suffix: source}, {}
    for contestant in contestants:
        path = source.with_suffix(contestant.suffix)
        if path.suffix in files or path.suffix in refused:
            continue
        say(f"{name}: converting to {path}")
        outcome = subprocess.run(
            [sys.executable, HERE / "peers.py", contestant.name, path, "--convert", source],
            capture_output=True, text=True, timeout=CHILD_TIMEOUT_SECONDS,
        )  # fmt: skip
        if outcome.returncode == 0:
            files[path.suffix] = path
        else:
            path.unlink(missing_ok=True)
            refused[path.suffix] = "cannot write this file: " + last_line(outcome.stderr)
    return files, refused


def last_line(text):
    lines = text.replace(f"{ROOT}/", "").strip().splitlines()  # results travel: no paths of one machine
    return lines[-1][:200] if lines else "no message"


def run_child(contestant, argv):
    """(what the contestant reports, None) or (None, why it failed)."""
    before = time.perf_counter()
    try:
        outcome = subprocess.run(argv, capture_output=True, text=True, timeout=CHILD_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return None, f"took more than {CHILD_TIMEOUT_SECONDS} s"
    if outcome.returncode != 0:
        return None, f"exit {outcome.returncode}: {last_line(outcome.stderr)}"
    text = outcome.stdout[outcome.stdout.index("{"):] if "{" in outcome.stdout else "{}"  # some peers print before it
    return contestant.parse(text) | {"wall_seconds": time.perf_counter() - before}, None


def verify(contestants, files, tools):
    """Each loader's digests against those of the file's own bytes: {name: "equal", or what is wrong}."""
    expected = checkpoints.digests(files[".safetensors"])
    verdicts = {}
    for contestant in contestants:
        if contestant.group in ("limit", "cast") or contestant.suffix not in files:
            continue
        flag = "--digest" if contestant.group == "longshore" else "--digests"
        found, failure = run_child(contestant, contestant.command(tools, files[contestant.suffix], False) + [flag])
        if failure is None:
            wrong = [name for name, value in expected.items() if found["digests"].get(name) != value]
            failure = f"{len(wrong)} of {len(expected)} tensors differ, such as {wrong[0]}" if wrong else None
        verdicts[contestant.name] = failure or "equal"
        say(f"  {contestant.name}: {verdicts[contestant.name]}")
    return verdicts


def set_page_cache(files, path, state):
    """Only the file at hand may be in the page cache, so that memory is short for no one."""
    for other in files.values():
        if other != path:
            page_cache.make_cold(other)
    return page_cache.make_cold(path) if state == "cold" else page_cache.make_hot(path)


def measure(contestant, files, state, tools, touched):
    path = files[contestant.suffix]
    resident = set_page_cache(files, path, state)
    copies = 2 if contestant.group == "cast" else 1  # F32 is at most so much larger than what models come in
    page_cache.warm_memory(copies * files[".safetensors"].stat().st_size + MEMORY_HEADROOM_BYTES)
    sample, failure = run_child(contestant, contestant.command(tools, path, touched))
    facts = {"contestant": contestant.name, "state": state, "resident_before": resident, "error": failure}
    return facts | (sample or {})


def run_rounds(name, contestants, files, tools, rounds):
    samples = []
    for number in range(rounds):
        say(f"{name}, round {number + 1} of {rounds}")
        order = random.Random(number).sample(contestants, len(contestants))  # whoever comes before leaves its traces
        for state in ("cold", "hot"):
            for path in files.values():  # the last cold contestant's folios would be the first hot ones' alone
                page_cache.make_cold(path)
            for contestant in order:
                if state in contestant.states:
                    samples.append(measure(contestant, files, state, tools, name not in UNTOUCHED) | {"round": number})
                    seconds = samples[-1].get("seconds")
                    say(f"  {state:4} {contestant.name}: {samples[-1]['error'] or f'{seconds:.3f} s'}")
    return samples


def run_scenario(name, arguments, contestants, tools):
    files, refused = prepare(name, arguments.data, contestants)
    say(f"{name}: checking that all loaders give the file's bytes")
    verdicts = verify(contestants, files, tools)
    out = {c.name: refused[c.suffix] for c in contestants if c.suffix in refused}
    out |= {who: verdict for who, verdict in verdicts.items() if verdict != "equal"}
    samples = run_rounds(name, [c for c in contestants if c.name not in out], files, tools, arguments.rounds)
    for suffix, path in files.items():
        if suffix != ".safetensors":  # quick to make again, and twice the file's size on disk
            path.unlink()
    header, _ = checkpoints.read_header(files[".safetensors"])
    return {
        "file_bytes": files[".safetensors"].stat().st_size,
        "tensors": len(header),
        "touched": name not in UNTOUCHED,
        "verified": verdicts,
        "not_measured": out,
        "samples": samples,
    }


def version_of(program):
    """The number in what `program --version` prints, or None where there is no such program."""
    if not shutil.which(program):
        return None
    text = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"\d[\w.+-]*", text)[0]


def machine():
    with open("/proc/cpuinfo") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    with open("/proc/meminfo") as file:
        memory_bytes = int(file.readline().split()[1]) * 1024
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": memory_bytes,
        "kernel": platform.release().split("-")[0],
        "huge_pages": Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text().strip(),
    }


def versions():
    known = {"python": platform.python_version(), "fio": version_of("fio"), "longshore": version_of(LONGSHORE_BIN)}
    for package in PACKAGES:
        try:
            known[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            known[package] = None
    return known


def run_all(arguments):
    contestants = chosen(arguments.only)
    check_present(contestants)
    tools = build_tools(ROOT / "build" / "bench")
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = {
        "date": datetime.date.today().isoformat(),
        "command": " ".join(["python tests/bench/run.py", *sys.argv[1:]]),
        "rounds": arguments.rounds,
        "machine": machine(),
        "versions": versions(),
        "scenarios": {},
    }
    for name in arguments.files:
        results["scenarios"][name] = run_scenario(name, arguments, contestants, tools)
        (arguments.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")  # a later failure keeps it


def main():
    arguments = parse_arguments()
    if not arguments.redraw:
        run_all(arguments)
    results = json.loads((arguments.out / "results.json").read_text())
    table = report.markdown(results)
    (arguments.out / "table.md").write_text(table)
    report.plot(results, arguments.out / "plot.png")
    if arguments.readme:
        report.replace_in_readme(ROOT / "README.md", table)
    print(table)


if __name__ == "__main__":
    main()
