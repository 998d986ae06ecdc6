"""Measures steps of a model that streams through a device, beside the bound of each: the slower of compute and the bytes
moved over the link, or from the disk.

    python tests/bench/stream.py [--file sdxl] [--passes 5] [--out DIR] [--readme]
    systemd-run --scope -p MemoryMax=4G python tests/bench/stream.py --disk    # memory below the model's size

The device is longshore's own, of ordinary memory, behind a link of a set rate; compute is a wait as long as a layer's
bytes would take. Budgets of 25, 50, 75 and 100 % of the model, links of a quarter, once and four times what compute
uses. With --disk, layers come from the disk, with a compute slower and one faster than that. A ratio is of one step to
its own bound; medians, the least and the most of all steps. Writes stream.json, stream.md and stream.png, or
stream_disk.* with --disk.
"""
import argparse
import json
import statistics
import subprocess
from pathlib import Path

import page_cache
from contestants import HERE, LONGSHORE_BIN, ROOT, chosen
from report import replace_in_readme
from run import SCENARIOS, build_tools, machine, prepare, say

README_MARKERS = ("<!-- stream:begin -->", "<!-- stream:end -->")
COMPUTE_GB_PER_S = 2.0
DISK_COMPUTES_GB_PER_S = (1.5, 8.0)  # slower than most disks, and faster
COLOURS = {0.25: "#d98a3d", 1.0: "#0b6e99", 4.0: "#7d6b91"}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", choices=SCENARIOS, default="sdxl", help="which layout to stream")
    parser.add_argument("--passes", type=int, default=5, help="steps of each setting that are measured (default 5)")
    parser.add_argument("--disk", action="store_true", help="stream from the disk")
    parser.add_argument("--data", type=Path, default=ROOT / "build" / "bench-data", help="where the file is kept")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="where the results go")
    parser.add_argument("--readme", action="store_true", help="also replace the table in README.md")
    return parser.parse_args()


def sweep(path, arguments, compute, *options):
    command = [LONGSHORE_BIN, "bench", "stream", path, "--passes", arguments.passes, "--compute", compute, "--json",
               *options]  # fmt: skip
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout)
    return [{"compute_gb_per_s": compute, "layers": found["layers"], **step} for step in found["steps"]]


def measure(arguments):
    build_tools(ROOT / "build" / "bench")
    path = prepare(arguments.file, arguments.data, chosen(["longshore owned"]))[0][".safetensors"]
    if arguments.disk:
        page_cache.make_cold(path)
        steps = [step for compute in DISK_COMPUTES_GB_PER_S
                 for step in sweep(path, arguments, compute, "--from", "disk", "--budget", "25,50,75", "--link", "4")]  # fmt: skip
    else:
        steps = sweep(path, arguments, COMPUTE_GB_PER_S)
    return {"machine": machine(), "file": arguments.file, "file_bytes": path.stat().st_size, "layers": steps[0]["layers"],
            "passes": arguments.passes, "from": "disk" if arguments.disk else "pinned", "steps": steps}  # fmt: skip


def summary(step):
    ratios = [p["seconds"] / p["bound_seconds"] for p in step["passes"]]
    return {
        "seconds": statistics.median(p["seconds"] for p in step["passes"]),
        "bound": statistics.median(p["bound_seconds"] for p in step["passes"]),
        "moved": statistics.median(p["moved_bytes"] for p in step["passes"]),
        "ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios),
    }  # fmt: skip


def markdown(results):
    origin = "the disk" if results["from"] == "disk" else "a page-locked copy in host memory"
    lines = [
        f"{results['file']}, {results['file_bytes'] / 1e9:.2f} GB in {results['layers']} layers, from {origin}; "
        f"medians of {results['passes']} steps.",
        "",
        "| budget | compute, GB/s | link, of compute's | step s | bound s | ratio (min..max) | moved a step |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for step in results["steps"]:
        cell = summary(step)
        lines.append(
            f"| {step['budget_percent']:g} % | {step['compute_gb_per_s']:g} | {step['link_ratio']:g}x | {cell['seconds']:.3f} | "
            f"{cell['bound']:.3f} | {cell['ratio']:.3f} ({cell['least']:.3f}..{cell['most']:.3f}) | "
            f"{cell['moved'] / 1e9:.2f} GB |"
        )
    return "\n".join([*lines, ""])


def plot(results, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    by_disk = results["from"] == "disk"
    key = "compute_gb_per_s" if by_disk else "link_ratio"
    for number, value in enumerate(dict.fromkeys(step[key] for step in results["steps"])):
        steps = [step for step in results["steps"] if step[key] == value]
        budgets = [step["budget_percent"] for step in steps]
        cells = [summary(step) for step in steps]
        colour = list(COLOURS.values())[number]
        label = f"compute {value:g} GB/s" if by_disk else f"link {value:g}x compute's need"
        axes.plot(budgets, [c["bound"] for c in cells], color=colour, linestyle="--", linewidth=1)
        axes.plot(budgets, [c["seconds"] for c in cells], color=colour, marker="o", label=label)
    axes.plot([], [], color="#444444", linestyle="--", linewidth=1, label="bound")
    axes.set_xticks(sorted({step["budget_percent"] for step in results["steps"]}))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("device memory, % of the model")
    axes.set_ylabel("seconds a step")
    axes.set_title(f"{results['file']} streamed from {'the disk' if by_disk else 'host memory'}")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main():
    arguments = parse_arguments()
    results = measure(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    stem = arguments.out / ("stream_disk" if arguments.disk else "stream")
    stem.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    stem.with_suffix(".md").write_text(markdown(results))
    plot(results, stem.with_suffix(".png"))
    if arguments.readme:
        replace_in_readme(ROOT / "README.md", markdown(results), README_MARKERS)
    say(f"written to {stem}.md")
    print(markdown(results))


if __name__ == "__main__":
    main()
