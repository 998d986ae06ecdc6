#!/usr/bin/env python3
"""How long ComfyUI takes to its first page: without Longshore's pack, with it, and while it preloads 9 GB.

    comfyui_start.py --comfyui DIR [--rounds 5]

The three take turns, on cold files, after a start of each that is not counted. Prints medians with their spread; the same
and every sample are in results/comfyui-start.md and .json.
"""
import argparse
import json
import statistics
from pathlib import Path

import comfyui as bench  # first: it makes the modules of tests/comfyui known
import server as comfyui

LAYOUTS = ("sdxl", "sd15")
WITHOUT, IDLE, PRELOADING = "without the pack", "with the pack", "with the pack, preloading"


def start(program, base, files):
    """Seconds to the first page, and how far the preloading was then."""
    bench.set_cache(files, "cold")
    with comfyui.Server(program, base) as server:
        sample = {"first_page": server.first_page_seconds}
        status, body = server.request("/longshore/status")
        if status == 200:
            sample["preload"] = [{name: model[name] for name in ("key", "state")} for model in json.loads(body)["preload"]]
        return sample


def prepare(arguments):
    """({contestant: its base folder}, the files to preload)"""
    names = [f"{layout}-0.safetensors" for layout in LAYOUTS]
    for layout, name in zip(LAYOUTS, names):
        bench.write_checkpoints(arguments.work / "checkpoints", [name], layout)
    pack = [comfyui.PACK]
    contestants = {WITHOUT: ([], ""), IDLE: (pack, ""), PRELOADING: (pack, "user")}
    bases = {
        name: bench.prepare(arguments, bench.Contestant(f"start {name}", "", packs, preloads=preloads), names)
        for name, (packs, preloads) in contestants.items()
    }
    return bases, [arguments.work / "checkpoints" / name for name in names]


def report(samples, rounds, preload_bytes):
    lines = [
        f"Medians of {rounds} interleaved starts; the pack preloads {preload_bytes / 1e9:.1f} GB.",
        "",
        "| server | first page s (least..most) | to the first |",
        "| --- | --- | --- |",
    ]
    medians = {}
    for name in (WITHOUT, IDLE, PRELOADING):
        seconds = [sample["first_page"] for sample in samples if sample["contestant"] == name]
        medians[name] = statistics.median(seconds)
        spread = f"({min(seconds):.2f}..{max(seconds):.2f})"
        lines.append(f"| {name} | {medians[name]:.2f} {spread} | {medians[name] / medians[WITHOUT]:.3f} |")
    holds = medians[PRELOADING] <= 1.05 * medians[WITHOUT]
    going_on = all(
        any(model["state"] in ("loading", "waiting") for model in sample["preload"])
        for sample in samples
        if sample["contestant"] == PRELOADING
    )
    verdict = "holds" if holds and going_on else "MISSED"
    lines += ["", f"- {verdict}: preloading, at most 1.05 of the start without the pack; still preloading: {going_on}"]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=bench.HERE.parents[1] / "build" / "bench-comfyui")
    arguments = parser.parse_args()
    bases, files = prepare(arguments)
    samples = []
    for number in range(-1, arguments.rounds):
        for name, base in bases.items():
            sample = {"contestant": name, "round": number, **start(arguments.comfyui, base, files)}
            print(json.dumps(sample), flush=True)
            if number >= 0:
                samples.append(sample)
    text = report(samples, arguments.rounds, sum(file.stat().st_size for file in files))
    (bench.HERE / "results" / "comfyui-start.json").write_text(json.dumps({"samples": samples}, indent=1) + "\n")
    (bench.HERE / "results" / "comfyui-start.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
