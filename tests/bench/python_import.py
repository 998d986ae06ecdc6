"""Measures what `import longshore` takes, beside a start of the interpreter that imports nothing.

    python tests/bench/python_import.py [--rounds 31] [--limit 50] [PYTHON...]

PYTHON: interpreters that have the package (this one). Each sample is a process of its own, the two kinds in turn, with
the files in the page cache; the import is timed inside of it, and its CPU time tells it from what else the machine does.
Exit code 1 if a median is over the limit.
"""
import argparse
import statistics
import subprocess
import sys
import time

IMPORTS = """
import time
begin = time.perf_counter(), time.process_time()
import longshore
print(time.perf_counter() - begin[0], time.process_time() - begin[1])
"""
KINDS = ("start alone", "start and import", "import", "import's CPU")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=31, help="samples of each (default 31)")
    parser.add_argument("--limit", type=float, default=50, help="milliseconds that an import may take (default 50)")
    parser.add_argument("pythons", metavar="PYTHON", nargs="*", default=[sys.executable])
    return parser.parse_args()


def timed(python, source):
    """(milliseconds of the whole process, what it printed)"""
    begin = time.perf_counter()
    printed = subprocess.run([python, "-I", "-c", source], check=True, capture_output=True, text=True).stdout
    return (time.perf_counter() - begin) * 1e3, printed


def measure(python, rounds):
    """{kind: milliseconds of each round}"""
    timed(python, IMPORTS)  # its files are in the page cache from now on
    samples = []
    for _ in range(rounds):
        bare, _ = timed(python, "pass")
        whole, printed = timed(python, IMPORTS)
        samples.append((bare, whole, *(float(seconds) * 1e3 for seconds in printed.split())))
    return dict(zip(KINDS, zip(*samples)))


def main():
    arguments = parse_arguments()
    over = False
    print("| Python | " + " | ".join(f"{kind} ms (min..max)" for kind in KINDS) + " |")
    print("| --- " * (1 + len(KINDS)) + "|")
    for python in arguments.pythons:
        version = timed(python, "import platform; print(platform.python_version())")[1].strip()
        samples = measure(python, arguments.rounds)
        cells = (f"{statistics.median(s):.1f} ({min(s):.1f}..{max(s):.1f})" for s in samples.values())
        print(f"| {version} | {' | '.join(cells)} |", flush=True)
        over |= statistics.median(samples["import"]) > arguments.limit
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
