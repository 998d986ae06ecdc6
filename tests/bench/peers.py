"""One peer loads one file, in this process alone, and one JSON object on stdout says what that cost.

    python peers.py PEER FILE [--touch LIBRARY] [--digests] [--convert SAFETENSORS]

The clock starts when the peer's imports are done and stops when every tensor can be read, or with --touch when one
byte of each 4 KiB page of each tensor has been read. --convert makes FILE out of a .safetensors file instead, for the
peers that have a format of their own.
"""
import argparse
import ctypes
import json
import re
import resource
import time
from pathlib import Path

import torch  # first and for all: some peers would import it inside the timed call
from checkpoints import digest, read_header


class Peer:
    def with_names(self, tensors, path):
        """The loaded tensors under the names of the model, for checking; not timed."""
        return tensors


class Safetensors(Peer):
    def __init__(self):
        from safetensors.torch import load_file

        self.load_file = load_file

    def load(self, path):
        return self.load_file(path)


class SafetensorsPread(Safetensors):
    def load(self, path):
        return self.load_file(path, backend="pread")


class SafetensorsCast(Safetensors):
    """Everything as F32, as people do it: loaded, then cast tensor by tensor."""

    def load(self, path):
        return {name: tensor.to(torch.float32) for name, tensor in self.load_file(path).items()}


class Longshore(Peer):
    backend, dtype = "auto", None

    def __init__(self):
        from longshore.torch import load_file

        self.load_file = load_file

    def load(self, path):
        return self.load_file(path, backend=self.backend, dtype=self.dtype)


class LongshoreMmap(Longshore):
    backend = "mmap"


class LongshoreCast(Longshore):
    dtype = torch.float32


class Fastsafetensors(Peer):
    def __init__(self):
        from fastsafetensors import fastsafe_open

        self.open, self.opened = fastsafe_open, None

    def load(self, path):
        self.opened = self.open(path, device="cpu", nogds=True)
        return {name: self.opened.get_tensor(name) for name in self.opened.keys()}


class RunaiStreamer(Peer):
    def __init__(self):
        from runai_model_streamer import SafetensorsStreamer

        self.streamer = SafetensorsStreamer

    def load(self, path):
        with self.streamer() as streamer:
            streamer.stream_file(path)
            return dict(streamer.get_tensors())


class Tensorizer(Peer):
    """Its format has 256 KiB for names and shapes, too little for sdxl's: the tensors go by numbers, sorted by name."""

    def __init__(self):
        import tensorizer

        self.library = tensorizer

    def load(self, path):
        return dict(self.library.TensorDeserializer(path, device="cpu", lazy_load=False))

    def convert(self, tensors, path):
        serializer = self.library.TensorSerializer(path)
        serializer.write_state_dict({str(i): tensors[name] for i, name in enumerate(sorted(tensors))})
        serializer.close()

    def with_names(self, tensors, path):
        header, _ = read_header(Path(path).with_suffix(".safetensors"))
        return {name: tensors[str(i)] for i, name in enumerate(sorted(header))}


class TorchMmap(Peer):
    def load(self, path):
        return torch.load(path, mmap=True, weights_only=True)

    def convert(self, tensors, path):
        torch.save(tensors, path)


PEERS = {
    "longshore.torch": Longshore,
    "longshore.torch mmap": LongshoreMmap,
    "longshore.torch as F32": LongshoreCast,
    "safetensors": Safetensors,
    "safetensors pread": SafetensorsPread,
    "safetensors, then to F32": SafetensorsCast,
    "fastsafetensors": Fastsafetensors,
    "runai-model-streamer": RunaiStreamer,
    "tensorizer": Tensorizer,
    "torch.load mmap": TorchMmap,
}


def touch(library, tensors):
    count = len(tensors)
    addresses = (ctypes.c_void_p * count)(*(t.data_ptr() for t in tensors.values()))
    lengths_bytes = (ctypes.c_uint64 * count)(*(t.nbytes for t in tensors.values()))
    library.touch_pages(addresses, lengths_bytes, ctypes.c_size_t(count))


def raw_bytes(tensor):
    """The tensor's bytes without a copy, whatever its dtype."""
    return memoryview((ctypes.c_char * tensor.nbytes).from_address(tensor.data_ptr())) if tensor.nbytes else b""


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_rss_bytes():
    """This program's own peak; ru_maxrss would carry over that of whoever started it."""
    with open("/proc/self/status") as file:
        return int(re.search(r"VmHWM:\s+(\d+)", file.read())[1]) * 1024


def anonymous_bytes():
    """Memory that only swap could free: page cache that is mapped does not count."""
    with open("/proc/self/smaps_rollup") as file:
        return int(re.search(r"\nAnonymous:\s+(\d+)", file.read())[1]) * 1024


def measure(peer, path, library):
    anonymous_before = anonymous_bytes()
    cpu_before, before = cpu_seconds(), time.perf_counter()
    tensors = peer.load(path)
    if library:
        touch(library, tensors)
    seconds = time.perf_counter() - before
    return tensors, {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds() - cpu_before,
        "peak_rss_bytes": peak_rss_bytes(),
        "anonymous_bytes": anonymous_bytes() - anonymous_before,
        "bytes": sum(t.nbytes for t in tensors.values()),
        "tensors": len(tensors),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("file")
    parser.add_argument("--touch", metavar="LIBRARY", help="touch all bytes, with this shared library")
    parser.add_argument("--digests", action="store_true", help="add the XXH3-128 of each tensor, not timed")
    parser.add_argument("--convert", metavar="SAFETENSORS", help="write FILE from this one instead of loading it")
    arguments = parser.parse_args()

    peer = PEERS[arguments.peer]()
    if arguments.convert:
        peer.convert(Safetensors().load(arguments.convert), arguments.file)
        return
    library = ctypes.CDLL(arguments.touch) if arguments.touch else None
    tensors, report = measure(peer, arguments.file, library)
    if arguments.digests:
        named = peer.with_names(tensors, arguments.file)
        report["digests"] = {name: digest(raw_bytes(tensor)) for name, tensor in named.items()}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
