"""Who is measured: longshore, the plain limits, and the peers; each is a command that prints its cost as JSON."""
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LONGSHORE_BIN = Path(os.environ.get("LONGSHORE_BIN", ROOT / "build" / "release" / "longshore"))

# The names are those of peers.py, which this module does not import: torch would come into the process that starts all
# others. The suffixes are of the format that the peer reads.
PEER_SUFFIXES = {
    "longshore.torch": ".safetensors",
    "longshore.torch mmap": ".safetensors",
    "safetensors": ".safetensors",
    "safetensors pread": ".safetensors",
    "fastsafetensors": ".safetensors",
    "runai-model-streamer": ".safetensors",
    "tensorizer": ".tensors",
    "torch.load mmap": ".pt",
}
# Measured only when they are asked for by name, since their bytes are not the file's.
CASTS = ("longshore.torch as F32", "safetensors, then to F32")


@dataclass(frozen=True)
class Tools:
    """What the runner builds: the plain reader and the library that touches pages."""

    plain_read: Path
    touch_library: Path


@dataclass(frozen=True)
class Contestant:
    name: str
    group: str  # longshore, limit or peer
    command: Callable  # (tools, path, touched) -> argv
    states: tuple = ("cold", "hot")
    baseline: tuple = ()  # the states in which it counts as a plain reader to compare with
    suffix: str = ".safetensors"
    parse: Callable = json.loads


def _longshore(hold):
    def command(tools, path, touched):
        argv = [str(LONGSHORE_BIN), "load", str(path), "--hold", hold, "--json"]
        return argv + ["--touch"] if touched else argv

    return Contestant(f"longshore {hold}", "longshore", command)


def _plain(name, engine, memory, **facts):
    return Contestant(name, "limit", lambda tools, path, _: [str(tools.plain_read), engine, memory, str(path)], **facts)


def _parse_fio(text):
    job = json.loads(text)["jobs"][0]
    seconds = job["read"]["runtime"] / 1000
    cpu_seconds = (job["usr_cpu"] + job["sys_cpu"]) / 100 * job["job_runtime"] / 1000
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_rss_bytes": None,  # fio reads into a small ring of buffers
        "bytes": job["read"]["io_bytes"],
    }


def _fio(block, depth):
    def command(tools, path, _):
        return ["fio", "--name=read", f"--filename={path}", "--rw=read", "--readonly", "--direct=1", f"--bs={block}",
                f"--iodepth={depth}", "--ioengine=io_uring", "--output-format=json"]  # fmt: skip

    return Contestant(f"fio direct, {block} x {depth}", "limit", command, ("cold",), ("cold",), parse=_parse_fio)


def _peer(name, suffix):
    def command(tools, path, touched):
        argv = [sys.executable, str(HERE / "peers.py"), name, str(path)]
        return argv + ["--touch", str(tools.touch_library)] if touched else argv

    return Contestant(name, "cast" if name in CASTS else "peer", command, suffix=suffix)


CONTESTANTS = [
    *(_longshore(hold) for hold in ("owned", "mapped", "auto")),
    _plain("io_uring direct, memory touched before", "uring", "warm", baseline=("cold",)),
    _plain("io_uring direct, fresh memory touched ahead", "uring", "ahead", baseline=("cold",)),
    _fio("1m", 8),
    _fio("4m", 4),
    _plain("pread x 2, memory touched before", "pread", "warm"),
    _plain("pread x 2, fresh huge pages", "pread", "huge", baseline=("hot",)),
    _plain("pread x 2, fresh 4 KiB pages", "pread", "small", baseline=("hot",)),
    _plain("memory copy x 2, touched before", "copy", "warm", states=("hot",)),
    *(_peer(name, suffix) for name, suffix in PEER_SUFFIXES.items()),
    *(_peer(name, ".safetensors") for name in CASTS),
]


def chosen(words):
    """The contestants whose name contains one of the words; all but the casts when there are none."""
    found = [c for c in CONTESTANTS if (any(w in c.name for w in words) if words else c.group != "cast")]
    if not found:
        raise SystemExit("no contestant is called that; there are: " + "; ".join(c.name for c in CONTESTANTS))
    return found
