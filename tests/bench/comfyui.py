#!/usr/bin/env python3
"""Longshore's nodes beside ComfyUI's own loader and two packs that cache, in real ComfyUI servers on the CPU.

    comfyui.py --comfyui DIR [--pack inspire=DIR] [--pack snapshot=DIR] [--layout sd15] [--rounds 5]

Each round starts a server for each contestant, in turn, and measures in it: the first load of the server, a sampler
step, the switch to another checkpoint and back, and a load after /free. Cold and hot files take turns. Prints medians
with their spread and how they compare with ComfyUI's own, and writes every sample to results/comfyui.json.
"""
import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "comfyui")]

import models  # noqa: E402
import page_cache  # noqa: E402
import server as comfyui  # noqa: E402
from workflows import node, txt2img  # noqa: E402

RESULTS = HERE / "results" / "comfyui.json"
STEPS = 4
FIGURES = ("first_page", "load", "step", "switch_there", "switch_back", "after_free", "peak_mib", "lasting_mib")


@dataclass
class Contestant:
    name: str
    loader: str
    packs: "list[Path]" = field(default_factory=list)
    environment: "dict[str, str]" = field(default_factory=dict)
    arguments: "tuple[str, ...]" = ()
    inputs: "dict[str, str]" = field(default_factory=dict)
    preloads: str = ""  # where its configuration is: "user" folder of ComfyUI, or its own "pack" folder

    def workflow(self, checkpoint, seed):
        loaders = {"L": node(self.loader, ckpt_name=checkpoint, **self.inputs)}
        return txt2img(loaders, seed=seed, steps=STEPS)


def contestants(packs):
    ours = [comfyui.PACK]
    made = [
        Contestant("stock", "CheckpointLoaderSimple"),
        Contestant("stock --cache-ram 2 2", "CheckpointLoaderSimple", arguments=("--cache-ram", "2", "2")),
        Contestant("longshore", "LongshoreCheckpointLoader", ours),
        Contestant("longshore, preloading", "LongshoreCheckpointLoader", ours, preloads="user"),
        Contestant("longshore, alias", "LongshoreCheckpointLoader", ours, {"LONGSHORE_WEIGHTS": "alias"}),
    ]
    if "inspire" in packs:
        made.append(
            Contestant("inspire", "CheckpointLoaderSimpleShared //Inspire", [packs["inspire"]], inputs={"key_opt": ""})
        )
    if "snapshot" in packs:
        made.append(Contestant("snapshot", "CachedCheckpointLoader", [packs["snapshot"]], preloads="pack"))
    return made


class Memory:
    """The most anonymous memory and the most of all that a process had, seen 50 times a second."""

    def __init__(self, pid):
        self._path, self._over = f"/proc/{pid}/status", threading.Event()
        self.peak_anonymous = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def now(self, name):
        with open(self._path) as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith(name + ":"))

    def _watch(self):
        while not self._over.wait(0.02):
            self.peak_anonymous = max(self.peak_anonymous, self.now("RssAnon"))

    def stop(self):
        self._over.set()
        self._thread.join()


def set_cache(paths, state):
    for path in paths:
        page_cache.make_cold(path) if state == "cold" else page_cache.make_hot(path)


def measure(contestant, base, arguments, state):
    """One server's figures. Seconds and MiB."""
    first, second = (base / "models" / "checkpoints" / f"{arguments.layout}-{i}.safetensors" for i in (0, 1))
    figures = {}
    set_cache((first, second), state)
    program = arguments.work / "comfyui-copy" if contestant.preloads == "pack" else arguments.comfyui
    with comfyui.Server(program, base, contestant.environment, contestant.arguments) as server:
        figures["first_page"] = server.first_page_seconds
        memory = Memory(server.process.pid)
        try:
            loaded = server.run(contestant.workflow(first.name, seed=1))
            figures["load"] = loaded.seconds["L"]
            figures["pixels"] = loaded.pixels()
            figures["peak_mib"] = memory.now("VmHWM")
            again = server.run(contestant.workflow(first.name, seed=2))
            figures["step"] = again.seconds["sampler"] / STEPS
            figures["lasting_mib"] = memory.now("RssAnon")
            figures["switch_there"] = server.run(contestant.workflow(second.name, seed=1)).seconds["L"]
            figures["switch_back"] = server.run(contestant.workflow(first.name, seed=3)).seconds.get("L", 0.0)
            server.free(unload_models=True, free_memory=True)
            with contextlib.suppress(RuntimeError):  # whoever still maps the file keeps it hot
                set_cache((first, second), state)
            figures["after_free"] = server.run(contestant.workflow(first.name, seed=4)).seconds.get("L", 0.0)
            figures["peak_anonymous_mib"] = memory.peak_anonymous
        finally:
            memory.stop()
    return figures


def prepare(work, contestant, layout, source):
    """A folder of the contestant's own, with its packs, and links to the checkpoints."""
    base = work / "".join(c if c.isalnum() else "-" for c in contestant.name)
    copied = contestant.preloads == "pack"
    comfyui.base_folder(base, [] if copied else contestant.packs)
    if copied:
        copy_pack(contestant.packs[0], base)
    if contestant.preloads:
        place = base / ("custom_nodes/" + contestant.packs[0].name if copied else "user") / "preload_config.json"
        names = [{"name": f"{layout}-{index}.safetensors", "cache_key": "", "enabled": True} for index in (0, 1)]
        settings = {"auto_gpu_load": False, "verbose": False}
        place.write_text(json.dumps({"models": {"checkpoints": names}, "settings": settings}))
    for index in (0, 1):
        name = f"{layout}-{index}.safetensors"
        link = base / "models" / "checkpoints" / name
        link.unlink(missing_ok=True)
        os.link(source / name, link)
    return base


def copy_pack(pack, base):
    """For the pack whose configuration is a file of its own folder."""
    place = base / "custom_nodes" / pack.name
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(pack, place, ignore=shutil.ignore_patterns(".git"))


def copy_comfyui(source, copy):
    """For the pack that rewrites ComfyUI's files."""
    if not copy.exists():
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns(".git"))


def write_checkpoints(folder, layout):
    folder.mkdir(parents=True, exist_ok=True)
    for seed in (0, 1):
        path = folder / f"{layout}-{seed}.safetensors"
        if not path.exists():
            models.write(path, models.layout(layout), seed)


def table(samples, names):
    """Medians (least..most), and in brackets how they compare with ComfyUI's own."""
    lines = ["| contestant | file | " + " | ".join(FIGURES) + " |", "| --- " * (len(FIGURES) + 2) + "|"]
    for state in ("cold", "hot"):
        stock = {}
        for name in names:
            own = [s for s in samples if (s["contestant"], s["state"]) == (name, state)]
            cells = []
            for figure in FIGURES:
                values = [s[figure] for s in own if figure in s]
                if not values:
                    cells.append("")
                    continue
                median = statistics.median(values)
                stock.setdefault(figure, median)
                ratio = f" [{median / stock[figure]:.2f}]" if stock[figure] else ""
                cells.append(f"{median:.4g} ({min(values):.3g}..{max(values):.3g}){ratio}")
            lines.append(f"| {name} | {state} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, default=os.environ.get("COMFYUI_DIR"))
    parser.add_argument("--pack", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--only", action="append", help="a contestant; may be given again")
    parser.add_argument("--layout", default="sd15", help="one of app/layouts: sd15-tiny, sd15, sdxl")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--states", nargs="+", default=["cold", "hot"], choices=["cold", "hot"])
    parser.add_argument("--work", type=Path, default=HERE.parents[1] / "build" / "bench-comfyui")
    arguments = parser.parse_args()
    if not arguments.comfyui:
        parser.error("name ComfyUI's folder with --comfyui or COMFYUI_DIR")
    packs = {name: Path(folder).resolve() for name, folder in (pack.split("=", 1) for pack in arguments.pack)}
    chosen = [c for c in contestants(packs) if not arguments.only or c.name in arguments.only]
    if any(c.preloads == "pack" for c in chosen):
        copy_comfyui(arguments.comfyui, arguments.work / "comfyui-copy")
    write_checkpoints(arguments.work / "checkpoints", arguments.layout)
    bases = {c.name: prepare(arguments.work, c, arguments.layout, arguments.work / "checkpoints") for c in chosen}
    samples = []
    for number in range(arguments.rounds):
        for state in arguments.states:
            for contestant in chosen:
                figures = measure(contestant, bases[contestant.name], arguments, state)
                samples.append({"contestant": contestant.name, "state": state, "round": number, **figures})
                print(json.dumps(samples[-1]), flush=True)
    RESULTS.write_text(json.dumps({"layout": arguments.layout, "samples": samples}, indent=1) + "\n")
    print(table(samples, [c.name for c in chosen]))
    pixels = {sample["pixels"] for sample in samples}
    print("all pixels are equal" if len(pixels) == 1 else f"PIXELS DIFFER: {len(pixels)} kinds")


if __name__ == "__main__":
    main()
