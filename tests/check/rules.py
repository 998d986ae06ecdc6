#!/usr/bin/env python3
"""The house rules that a program can check, each a test: rules.py [RULE...].

Prints a line for each rule and for each place that breaks it, and at the end `N passed, N failed`. A rule made of a
pattern carries a sample that breaks it; a rule that lets its own sample through fails.
"""
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("messages", "cache", "io", "gpu", "actors", "app")
MAX_LINES = 400
SOURCE = {".hpp", ".cpp", ".cu", ".py", ".sh"}
TEXT = SOURCE | {".md", ".txt", ".cmake", ".in", ".json", ".supp", ""}
GENERATED = {"build", "models", ".venv", ".git", ".cache", "__pycache__", "layouts", "corpus", "results"}

# What a room's files may include: its own and other rooms by name, and what stands in angle brackets by pattern.
STANDARD = r"[a-z_]+"
SYSTEM = r"(sys|linux|asm|netinet|arpa|sanitizer)/.+|[a-z_]+\.h"
ARROWS = {
    "cache": ({"cache"}, rf"{STANDARD}|tl/expected\.hpp"),
    "io": ({"io", "cache"}, rf"{STANDARD}|{SYSTEM}|(tl|nlohmann|protozero)/.+"),
    "gpu": ({"gpu", "io", "cache"}, rf"{STANDARD}|{SYSTEM}|tl/.+"),
    "messages": ({"messages", "gpu", "cache", "io"}, rf"{STANDARD}|(tl|caf)/.+"),
    "actors": ({"actors", "messages", "gpu", "io", "cache"}, rf"{STANDARD}|{SYSTEM}|(tl|caf)/.+"),
    "app": (set(ROOMS), r".+"),
}


def files(folder=".", suffixes=frozenset(TEXT)):
    """The project's own files below a folder, in a stable order."""
    for place, folders, names in os.walk(ROOT / folder):
        folders[:] = sorted(name for name in folders if name not in GENERATED)
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix in suffixes and path.is_file() and name != "LICENSE":
                yield path


def shown(path):
    return path.relative_to(ROOT)


def code_lines(text):
    """Numbered lines without what stands behind // on them."""
    for number, line in enumerate(text.splitlines(), 1):
        yield number, re.sub(r"//.*", "", line)


def matches(pattern, paths, strip_comments=True):
    for path in paths:
        text = path.read_text(errors="replace")
        for number, line in code_lines(text) if strip_comments else enumerate(text.splitlines(), 1):
            if re.search(pattern, line):
                yield f"{shown(path)}:{number}: {line.strip()}"


def with_sample(pattern, sample):
    if not re.search(pattern, sample):
        yield f"the rule does not notice: {sample}"


LOCKS = (
    r"std::(\w*mutex|\w*atomic\w*|condition_variable\w*|lock_guard|unique_lock|shared_lock|scoped_lock|latch|barrier|"
    r"\w*semaphore|call_once|once_flag|j?thread\b(?!::hardware_concurrency)|async|promise|(shared_)?future)|pthread_|\b__(atomic|sync)_|"
    r"#\s*include\s*<(mutex|shared_mutex|atomic|condition_variable|semaphore|latch|barrier|future)>"
)
SLEEPS = r"sleep_for|sleep_until|\b(u|nano|time\.)?sleep\s*\(|GTEST_SKIP|\bDISABLED_|pytest\.(mark\.)?(skip|xfail)"
UNFINISHED = r"\b(" + "TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b"


def no_locks():
    """no locks, atomics or threads in actors/ and cache/"""
    yield from with_sample(LOCKS, "std::lock_guard<std::mutex> guard(m);")
    for room in ("actors", "cache"):
        yield from matches(LOCKS, files(room, {".hpp", ".cpp"}))


def no_clock_in_cache():
    """cache/ reads no clock"""
    pattern = r"\w+_clock\b|\b(clock_gettime|gettimeofday|time)\s*\("
    yield from with_sample(pattern, "auto now = std::chrono::steady_clock::now();")
    yield from matches(pattern, files("cache", {".hpp", ".cpp"}))


def include_fault(room, line):
    """What is wrong with an include line of a file in a room, or nothing."""
    rooms, libraries = ARROWS[room]
    found = re.match(r'\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', line)
    if found and found[1] and not ("/" in found[1] and found[1].split("/")[0] in rooms):
        return f'"{found[1]}": {room}/ may include {", ".join(sorted(rooms))}, by paths from the root'
    if found and found[2] and not re.fullmatch(libraries, found[2]):
        return f"<{found[2]}>: not one of the libraries of {room}/"
    return None


def arrows_point_down():
    """includes go down the list of rooms, never up"""
    samples = (("cache", '#include "io/arena.hpp"'), ("io", "#include <caf/all.hpp>"), ("io", '#include "arena.hpp"'))
    for room, line in samples:
        if not include_fault(room, line):
            yield f"the rule does not notice in {room}/: {line}"
    for room in ARROWS:
        for path in files(room, {".hpp", ".cpp", ".cu"}):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if fault := include_fault(room, line):
                    yield f"{shown(path)}:{number}: {fault}"


def headers_open_with_their_contract():
    """a header opens with #pragma once and a /// comment"""
    for room in ROOMS:
        for path in files(room, {".hpp"}):
            if not path.read_text().startswith("#pragma once\n///"):
                yield f"{shown(path)}:1"


def compile_alone(path):
    """The compiler's complaint about a file that includes one header and nothing else; empty when there is none."""
    name = str(shown(path))
    unit = ROOT / "build/check/headers" / (name.replace("/", "_") + ".cpp")
    unit.parent.mkdir(parents=True, exist_ok=True)
    unit.write_text(f'#include "{name}"\n#include "{name}"\n')
    # A real compile, since a compiler cache keeps those; it keeps no -fsyntax-only.
    cache = ["ccache"] if shutil.which("ccache") else []
    command = [*cache, "g++", "-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", f"-I{ROOT}"]
    done = subprocess.run([*command, "-c", unit, "-o", unit.with_suffix(".o")], capture_output=True, text=True)
    return f"{name}:\n{done.stderr}" if done.returncode else ""


def headers_compile_alone():
    """every header compiles alone"""
    # Those of Python's extension compile with what only its own build has at hand.
    headers = [path for room in ROOMS for path in files(room, {".hpp"}) if "<nanobind/" not in path.read_text()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from filter(None, pool.map(compile_alone, headers))


def short_files():
    """no file is longer than 400 lines"""
    for path in [*files(suffixes=SOURCE), ROOT / "check", ROOT / "longshore"]:
        lines = len(path.read_text(errors="replace").splitlines())
        if lines > MAX_LINES:
            yield f"{shown(path)}: {lines} lines"


def tests_neither_sleep_nor_skip():
    """tests neither sleep nor skip"""
    yield from with_sample(SLEEPS, "std::this_thread::sleep_for(1ms);")
    yield from with_sample(SLEEPS, "    time.sleep(1)")
    paths = (path for path in files("tests", SOURCE) if path != Path(__file__).resolve())
    yield from matches(SLEEPS, paths)


def readme_shows_what_is_built():
    """the README's examples for libtorch are the programs that the checks build"""
    for program in ("tests/consumer/torch/main.cpp", "tests/consumer/torch/stream.cpp"):
        if f"```cpp\n{(ROOT / program).read_text()}```\n" not in (ROOT / "README.md").read_text():
            yield f"README.md: not {program}, to the letter"


def nothing_left_to_do():
    """no reminders in the text"""
    yield from with_sample(UNFINISHED, "// " + "TO" + "DO: later")
    yield from matches(UNFINISHED, files(), strip_comments=False)


def formatted():
    """clang-format has nothing to change"""
    paths = list(files(suffixes={".hpp", ".cpp", ".cu"}))
    done = subprocess.run(["clang-format-19", "--dry-run", "-Werror", *paths], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        yield from sorted(set(re.findall(rf"^{re.escape(str(ROOT))}/(.+?):", done.stderr, re.M))) or [done.stderr]


RULES = (
    no_locks,
    no_clock_in_cache,
    arrows_point_down,
    headers_open_with_their_contract,
    headers_compile_alone,
    short_files,
    tests_neither_sleep_nor_skip,
    readme_shows_what_is_built,
    nothing_left_to_do,
    formatted,
)


def main(wanted):
    unknown = set(wanted) - {rule.__name__ for rule in RULES}
    if unknown:
        sys.exit(f"no such rule: {', '.join(unknown)}; there are: {', '.join(rule.__name__ for rule in RULES)}")
    failed = 0
    chosen = [rule for rule in RULES if not wanted or rule.__name__ in wanted]
    for rule in chosen:
        faults = list(rule())
        failed += bool(faults)
        print("FAILED" if faults else "ok    ", rule.__doc__)
        for fault in faults:
            print("   ", fault)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
