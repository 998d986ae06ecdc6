#!/usr/bin/env python3
"""Longshore's nodes beside ComfyUI's own loader and two packs that cache, in real ComfyUI servers on the CPU.

    comfyui.py --comfyui DIR [--pack inspire=DIR] [--pack snapshot=DIR] [--layout sd15] [--rounds 5] [--load-only]

Each round starts a server for each contestant, in turn, and measures in it: the first load of the server, a sampler
step, a hit, the switch to another checkpoint and back, and a load after /free. Cold and hot files take turns. Prints
medians with their spread, how they compare with ComfyUI's own, and which bars hold; the same and every sample are in
results/comfyui-LAYOUT.md and .json, after each round. With --load-only no picture is made, and there is one checkpoint: for models that
are too large for more.
"""
import argparse
import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "comfyui")]

import comfyui_report  # noqa: E402
import models  # noqa: E402
import page_cache  # noqa: E402
import server as comfyui  # noqa: E402
from process_memory import PeakMemory  # noqa: E402
from workflows import node, show, txt2img  # noqa: E402

STEPS = 2


@dataclass
class Contestant:
    name: str
    loader: str
    packs: "list[Path]" = field(default_factory=list)
    environment: "dict[str, str]" = field(default_factory=dict)
    arguments: "tuple[str, ...]" = ()
    inputs: "dict[str, object]" = field(default_factory=dict)  # which the loader cannot do without
    key_input: str = ""  # of a loader that has a key, the input that takes it
    preloads: str = ""  # where its configuration is: "user" folder of ComfyUI, or its own "pack" folder

    def workflow(self, checkpoint, seed, load_only=False, key=""):
        """key: the same model by its key, which is a change of the node, so ComfyUI runs it again."""
        inputs = {**self.inputs, **({self.key_input: key} if self.key_input else {})}
        loaders = {"L": node(self.loader, ckpt_name=checkpoint, **inputs)}
        return {**loaders, **show("L", 0)} if load_only else txt2img(loaders, seed=seed, steps=STEPS)


def contestants(packs):
    stock, ours = "CheckpointLoaderSimple", ("LongshoreCheckpointLoader", [comfyui.PACK])
    made = [
        Contestant("stock", stock),
        Contestant("stock --cache-ram 2 2", stock, arguments=("--cache-ram", "2", "2")),
        Contestant("longshore, convert", *ours, key_input="key_opt"),
        Contestant("longshore, alias", *ours, {"LONGSHORE_WEIGHTS": "alias"}, key_input="key_opt"),
        Contestant("longshore, preloading", *ours, key_input="key_opt", preloads="user"),
    ]
    if "inspire" in packs:
        shared = "CheckpointLoaderSimpleShared //Inspire"
        made.append(Contestant("inspire", shared, [packs["inspire"]], key_input="key_opt"))
    if "snapshot" in packs:
        made.append(
            Contestant(
                "snapshot", "CachedCheckpointLoader", [packs["snapshot"]], inputs={"use_cache": True},
                key_input="cache_key", preloads="pack",
            )
        )  # fmt: skip
    return made


class Measurement:
    """One server of a contestant, from its start to its end. Seconds and MiB."""

    def __init__(self, contestant, base, arguments, state):
        self._contestant, self._base, self._state, self._load_only = contestant, base, state, arguments.load_only
        self._program = base if contestant.preloads == "pack" else arguments.comfyui
        self._files = [base / "models" / "checkpoints" / name for name in checkpoint_names(arguments)]

    def figures(self):
        set_cache(self._files, self._state)
        contestant = self._contestant
        with comfyui.Server(self._program, self._base, contestant.environment, contestant.arguments) as server:
            with PeakMemory(server.process.pid) as memory:
                figures = {"first_page": server.first_page_seconds, **self._first(server, memory)}
                if not self._load_only:
                    figures |= self._switch(server)
                figures["after_free"] = self._after_free(server)
            return {**figures, "peak_anonymous_mib": memory.peak_anonymous_mib}

    def _run(self, server, file=0, **more):
        return server.run(self._contestant.workflow(self._files[file].name, load_only=self._load_only, **more))

    def _first(self, server, memory):
        first = self._run(server, seed=1)
        figures = {"load": first.seconds["L"], "peak_mib": memory.now_mib("VmHWM")}
        again = self._run(server, seed=2)
        if not self._load_only:
            figures |= {"pixels": first.pixels(), "step": again.seconds["sampler"] / STEPS}
        self._run(server, seed=2)  # nothing of it runs: whoever tidies up after a picture has done so
        figures["lasting_mib"] = memory.now_mib("RssAnon")
        if self._contestant.key_input:
            figures["hit"] = self._run(server, seed=2, key=self._files[0].name).seconds["L"]
        return figures

    def _switch(self, server):
        """A node that ComfyUI has the outputs of does not run, which takes no time."""
        there, back = self._run(server, file=1, seed=1), self._run(server, seed=3)
        return {"switch_there": there.seconds["L"], "switch_back": back.seconds.get("L", 0.0)}

    def _after_free(self, server):
        server.free(unload_models=True, free_memory=True)
        for turn in range(2):  # ComfyUI frees after the workflow that comes next at the latest
            server.run({"text": node("PrimitiveString", value=str(turn)), **show("text", 0)})
        set_cache(self._files, self._state)
        return self._run(server, seed=4).seconds["L"]


def set_cache(paths, state):
    for path in paths:
        page_cache.make_cold(path) if state == "cold" else page_cache.make_hot(path)


def checkpoint_names(arguments):
    return [f"{Path(arguments.layout).stem}-{seed}.safetensors" for seed in range(1 if arguments.load_only else 2)]


def prepare(arguments, contestant, names):
    """A folder of the contestant's own, with its packs, and links to the checkpoints."""
    base = arguments.work / "".join(c if c.isalnum() else "-" for c in contestant.name)
    copied = contestant.preloads == "pack"
    if copied:
        copy_comfyui(arguments.comfyui, base, contestant.packs[0])
    comfyui.base_folder(base, [] if copied else contestant.packs)
    if contestant.preloads:
        place = base / ("custom_nodes/" + contestant.packs[0].name if copied else "user") / "preload_config.json"
        entries = [{"name": name, "cache_key": "", "enabled": True} for name in names]
        settings = {"auto_gpu_load": False, "verbose": False}
        place.write_text(json.dumps({"models": {"checkpoints": entries}, "settings": settings}))
    for name in names:
        link = base / "models" / "checkpoints" / name
        link.unlink(missing_ok=True)
        os.link(arguments.work / "checkpoints" / name, link)
    return base


def copy_comfyui(comfyui_dir, base, pack):
    """ComfyUI with the pack in it: for one that rewrites ComfyUI's files, and has its configuration among its own."""
    shutil.rmtree(base, ignore_errors=True)
    shutil.copytree(comfyui_dir, base, ignore=shutil.ignore_patterns(".git"))
    shutil.copytree(pack, base / "custom_nodes" / pack.name, ignore=shutil.ignore_patterns(".git"))


def write_checkpoints(folder, names, layout):
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        if not (folder / name).exists():
            models.write(folder / name, models.layout(layout), seed)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, default=os.environ.get("COMFYUI_DIR"))
    parser.add_argument("--pack", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--only", action="append", help="a contestant; may be given again")
    parser.add_argument("--layout", default="sd15", help="one of app/layouts (sd15-tiny, sd15, sdxl), or a .json file")
    parser.add_argument("--load-only", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--states", nargs="+", default=["cold", "hot"], choices=["cold", "hot"])
    parser.add_argument("--work", type=Path, default=HERE.parents[1] / "build" / "bench-comfyui")
    arguments = parser.parse_args()
    if not arguments.comfyui:
        parser.error("name ComfyUI's folder with --comfyui or COMFYUI_DIR")
    return arguments


def main():
    arguments = parse()
    packs = {name: Path(folder).resolve() for name, folder in (pack.split("=", 1) for pack in arguments.pack)}
    chosen = [c for c in contestants(packs) if not arguments.only or c.name in arguments.only]
    names = checkpoint_names(arguments)
    write_checkpoints(arguments.work / "checkpoints", names, arguments.layout)
    bases = {c.name: prepare(arguments, c, names) for c in chosen}
    samples = []
    for number in range(arguments.rounds):
        for state in arguments.states:
            for c in chosen:
                figures = Measurement(c, bases[c.name], arguments, state).figures()
                samples.append({"contestant": c.name, "state": state, "round": number, **figures})
                print(json.dumps(samples[-1]), flush=True)
        text = comfyui_report.write(HERE / "results", Path(arguments.layout).stem, number + 1, samples)
    print(text)


if __name__ == "__main__":
    main()
