"""Measures how well the disk and the link to a device overlap, and how much staging memory that takes.

    python tests/bench/overlap.py [--file sdxl] [--rounds 5] [--out DIR]

The device is longshore's own, of ordinary memory, behind a link of a set rate: the disk's own measured rate (the
hardest case: without overlap a load would take twice as long), half of it and twice that; then, at the disk's rate,
staging memory of 16 MiB to 1 GiB. Rounds are interleaved, each load in a process of its own on a cold file. A ratio is
to the slower of the two alone: the plain reader's median in the same run, or the file's bytes at the link's rate.
Writes overlap.json, overlap.md and overlap.png.
"""
import argparse
import json
import statistics
from pathlib import Path

import page_cache
from contestants import HERE, LONGSHORE_BIN, ROOT, chosen
from run import MEMORY_HEADROOM_BYTES, SCENARIOS, build_tools, machine, prepare, run_child, say

LINK_SHARES = (0.5, 1.0, 2.0)  # of the disk's rate
STAGING_MIB = (16, 32, 64, 128, 256, 512, 1024)
DEFAULT_STAGING_MIB = 256
MIB = 1 << 20
KNEE = 1.02  # the least staging that is within this of the fastest


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", choices=SCENARIOS, default="sdxl", help="which layout to load")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each setting (default 5)")
    parser.add_argument("--data", type=Path, default=ROOT / "build" / "bench-data", help="where the file is kept")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="where the results go")
    return parser.parse_args()


class Machine:
    """Runs one cold load or read of the file at a time."""

    def __init__(self, arguments):
        self.tools = build_tools(ROOT / "build" / "bench")
        self.longshore = chosen(["longshore owned"])[0]
        self.reader = chosen(["io_uring direct, memory touched before"])[0]
        self.path = prepare(arguments.file, arguments.data, [self.longshore])[0][".safetensors"]
        self.bytes = self.path.stat().st_size

    def cold(self, contestant, argv):
        page_cache.make_cold(self.path)
        page_cache.warm_memory(self.bytes + 2 * MEMORY_HEADROOM_BYTES)
        found, failure = run_child(contestant, argv)
        if failure:
            raise SystemExit(failure)
        return found

    def read_disk(self):
        return self.cold(self.reader, self.reader.command(self.tools, self.path, False))["seconds"]

    def load(self, link_bytes_per_s, staging_mib):
        capacity_mib = self.bytes // MIB + 1024
        argv = [LONGSHORE_BIN, "load", self.path, "--device", "host", "--device-capacity", f"{capacity_mib}MiB", "--device-ready",
                "--link", f"{link_bytes_per_s / 1e9:.4f}", "--staging", f"{staging_mib}MiB", "--json"]  # fmt: skip
        return self.cold(self.longshore, list(map(str, argv)))


def settings():
    for share in LINK_SHARES:
        yield share, DEFAULT_STAGING_MIB
    for staging_mib in STAGING_MIB:
        if staging_mib != DEFAULT_STAGING_MIB:
            yield 1.0, staging_mib


def measure(arguments):
    on = Machine(arguments)
    disk_seconds = [on.read_disk() for _ in range(3)]
    disk_bytes_per_s = on.bytes / statistics.median(disk_seconds)
    say(f"the disk alone: {disk_bytes_per_s / 1e9:.2f} GB/s")
    samples = []
    for number in range(arguments.rounds):
        disk_seconds.append(on.read_disk())
        for share, staging_mib in settings():
            found = on.load(share * disk_bytes_per_s, staging_mib)
            samples.append({"round": number, "link_share": share, "staging_mib": staging_mib, **found})
            say(f"round {number + 1}: link {share:g}x the disk, staging {staging_mib} MiB: {found['seconds']:.3f} s")
    return {
        "machine": machine(),
        "file": arguments.file,
        "file_bytes": on.bytes,
        "rounds": arguments.rounds,
        "disk_seconds": disk_seconds,
        "disk_bytes_per_s": disk_bytes_per_s,
        "samples": samples,
    }


def summary(results):
    """{(link share, staging MiB): the median ratio to the slower alone, its spread, and the peaks}."""
    disk = statistics.median(results["disk_seconds"])
    cells = {}
    for share, staging_mib in settings():
        good = [s for s in results["samples"] if (s["link_share"], s["staging_mib"]) == (share, staging_mib)]
        link = results["file_bytes"] / (share * results["disk_bytes_per_s"])
        slower = max(disk, link)
        seconds = [s["seconds"] for s in good]
        cells[share, staging_mib] = {
            "seconds": statistics.median(seconds), "alone": slower, "one_after_the_other": (disk + link) / slower,
            "ratio": statistics.median(seconds) / slower,
            "least": min(seconds) / slower, "most": max(seconds) / slower,
            "staging_peak_mib": max(s["staging_peak_bytes"] for s in good) / MIB,
            "link_busy": statistics.median(s["link_busy_share"] for s in good),
        }  # fmt: skip
    return cells


def curve(cells):
    return sorted((mib, cell) for (share, mib), cell in cells.items() if share == 1.0)


def knee(cells):
    fastest = min(cell["seconds"] for _, cell in curve(cells))
    return next(mib for mib, cell in curve(cells) if cell["seconds"] <= KNEE * fastest)


def markdown(results):
    cells = summary(results)
    lines = [
        f"{results['file']}, {results['file_bytes'] / 1e9:.2f} GB, cold, medians of {results['rounds']} interleaved "
        f"rounds; the disk alone reads {results['disk_bytes_per_s'] / 1e9:.2f} GB/s.",
        "",
        "| link, of the disk's rate | staging limit | staging used | seconds | of the slower alone (min..max) | "
        "without overlap | link busy |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (share, mib), cell in sorted(cells.items()):
        lines.append(
            f"| {share:g}x | {mib} MiB | {cell['staging_peak_mib']:.0f} MiB | {cell['seconds']:.3f} | "
            f"{cell['ratio']:.2f}x ({cell['least']:.2f}..{cell['most']:.2f}) | {cell['one_after_the_other']:.2f}x | "
            f"{100 * cell['link_busy']:.0f} % |"
        )
    lines += ["", f"The knee: {knee(cells)} MiB of staging are within {KNEE:.2f}x of the fastest.", ""]
    return "\n".join(lines)


def plot(results, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    cells = summary(results)
    sizes = [mib for mib, _ in curve(cells)]
    figure, axes = plt.subplots(figsize=(7, 4))
    axes.fill_between(sizes, [c["least"] for _, c in curve(cells)], [c["most"] for _, c in curve(cells)],
                      alpha=0.2, color="#0b6e99", label="least and most")  # fmt: skip
    axes.plot(sizes, [c["ratio"] for _, c in curve(cells)], marker="o", color="#0b6e99", label="disk to device")
    axes.axhline(1, color="#9aa5ad", linestyle="--", label="disk or link alone")
    axes.axhline(2, color="#d98a3d", linestyle=":", label="one after the other")
    axes.axvline(knee(cells), color="#9aa5ad", linewidth=0.8)
    axes.annotate(f"knee: {knee(cells)} MiB", (knee(cells), 1.5), xytext=(4, 0), textcoords="offset points")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(mib) for mib in sizes])
    axes.set_ylim(0.9, 2.1)
    axes.set_xlabel("staging limit, MiB")
    axes.set_ylabel("time, of the slower alone")
    axes.set_title(f"{results['file']}: link as fast as the disk")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main():
    arguments = parse_arguments()
    results = measure(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "overlap.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.out / "overlap.md").write_text(markdown(results))
    plot(results, arguments.out / "overlap.png")
    print(markdown(results))


if __name__ == "__main__":
    main()
