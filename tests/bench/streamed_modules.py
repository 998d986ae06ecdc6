"""Measures steps of a streamed torch module beside those of the module with all its weights.

    python tests/bench/streamed_modules.py [--layers 40] [--width 2560] [--tokens 64] [--steps 7] [--folder DIR]

A stack of linear layers, of which the defaults make 1 GB (--layers 200 is sdxl's size), at device budgets of 25, 50, 75
and 100 %, on the device "host" and out of host memory. The steps of all budgets and of the resident module take turns.
Then a resident layer's way in and out, in microseconds.
"""
import argparse
import statistics
import tempfile
import time
from pathlib import Path

import longshore
import torch
from longshore.torch import stream
from safetensors.torch import save_file

PERCENT = (25, 50, 75, 100)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=40)
    parser.add_argument("--width", type=int, default=2560)
    parser.add_argument("--tokens", type=int, default=64, help="rows of the input: how much a layer computes")
    parser.add_argument("--steps", type=int, default=7, help="measured, after two that are not")
    parser.add_argument("--folder", help="where the file goes (a temporary folder)")
    return parser.parse_args()


def stack(layers, width):
    return torch.nn.Sequential(*(torch.nn.Linear(width, width, bias=False) for _ in range(layers))).eval()


def described(seconds):
    return f"{statistics.median(seconds):.3f} ({min(seconds):.3f}..{max(seconds):.3f})"


def timed(work):
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def round_trips(streamed, count=500):
    layer = streamed.layers[0]

    def once():
        with streamed.use(layer):
            pass

    return [timed(once) * 1e6 for _ in range(count)]


def main():
    arguments = parse_arguments()
    shape = arguments.layers, arguments.width
    resident, x = stack(*shape), torch.randn(arguments.tokens, arguments.width)
    model_bytes = sum(weight.nbytes for weight in resident.parameters())
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder, torch.inference_mode():
        path = Path(folder, "stack.safetensors")
        save_file(resident.state_dict(), path)
        runtime = longshore.Runtime(host_limit=3 * model_bytes, device="host", host_device_capacity=4 * model_bytes)
        modules, streams = {"resident": resident}, {}
        for percent in PERCENT:
            with torch.device("meta"):
                modules[percent] = stack(*shape)
            budget = model_bytes * percent // 100 + (1 << 20)
            streams[percent] = stream(modules[percent], path, budget, layer_bytes="64MiB", runtime=runtime)
        seconds = {name: [] for name in modules}
        for _ in range(arguments.steps + 2):
            for name, module in modules.items():
                seconds[name].append(timed(lambda: module(x)))
        print(f"{model_bytes / 1e9:.2f} GB in {arguments.layers} layers\n")
        print("| budget | step s (min..max) | of resident | moved a step GB |")
        print("| --- | --- | --- | --- |")
        base = statistics.median(seconds["resident"][2:])
        for name, all_ in seconds.items():
            moved = streams[name].status().moved_last_pass / 1e9 if name in streams else 0
            print(f"| {name} | {described(all_[2:])} | {statistics.median(all_[2:]) / base:.2f} | {moved:.2f} |")
        trips = round_trips(streams[100])
        print(f"\na resident layer in and out: {statistics.median(trips):.0f} us ({min(trips):.0f}..{max(trips):.0f})")
        for streamed in streams.values():
            streamed.detach()
        runtime.close()


if __name__ == "__main__":
    main()
