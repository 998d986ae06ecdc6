"""Brings one safetensors file to a device with the loaders that people use, and prints how long each took.

    python3 peers.py FILE [--repeat 5] [--device cuda]

Each is warmed by one load that does not count; then the median. The clock stops when the device has all bytes. Loaders
that are not installed are left out.
"""
import argparse
import statistics
import time

import torch


def with_safetensors(path, device):
    from safetensors.torch import load_file

    return load_file(path, device=device)


def with_fastsafetensors(path, device):
    from fastsafetensors import fastsafe_open

    with fastsafe_open(path, device=device, nogds=True) as opened:
        return {name: opened.get_tensor(name).clone() for name in opened.keys()}


def with_runai_model_streamer(path, device):
    from runai_model_streamer import SafetensorsStreamer

    with SafetensorsStreamer() as streamer:
        streamer.stream_file(path)
        return {name: tensor.to(device, non_blocking=True) for name, tensor in streamer.get_tensors()}


LOADERS = {
    "safetensors": with_safetensors,
    "fastsafetensors": with_fastsafetensors,
    "runai-model-streamer": with_runai_model_streamer,
}


def seconds_of(loader, path, device):
    begin = time.perf_counter()
    tensors = loader(path, device)
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - begin, sum(t.nbytes for t in tensors.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    for name, loader in LOADERS.items():
        try:
            rounds = [seconds_of(loader, arguments.file, arguments.device) for _ in range(arguments.repeat + 1)][1:]
        except ImportError:
            print(f"{name}: not installed")
            continue
        seconds, size_bytes = statistics.median(s for s, _ in rounds), rounds[0][1]
        print(f"{name}: {seconds:.3f} s, {size_bytes / 1e9 / seconds:.2f} GB/s")


if __name__ == "__main__":
    main()
