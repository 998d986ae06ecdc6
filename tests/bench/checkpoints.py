"""Checkpoints to load: written from a layout with random bytes, and read back the plain way to check others by."""
import json
import math
import os
import struct
from pathlib import Path

import numpy as np
import xxhash

DTYPE_BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
LAYOUTS = Path(__file__).resolve().parents[2] / "app" / "layouts"
BLOCK_BYTES = 32 << 20


def layout(name):
    """{tensor name: (dtype, shape)} of one of the layouts that the program ships."""
    tensors = json.loads((LAYOUTS / f"{name}.json").read_text())["tensors"]
    return {tensor: (facts["dtype"], facts["shape"]) for tensor, facts in tensors.items()}


def tiny_tensors(count=20_000, tensor_bytes=4096):
    """Many small tensors: what a loader costs a tensor, rather than a byte."""
    return {f"blocks.{i:05d}.scale": ("F32", [tensor_bytes // 4]) for i in range(count)}


def tensor_bytes(dtype, shape):
    return math.prod(shape) * DTYPE_BITS[dtype] // 8


def header_of(tensors):
    """The 8-byte length and the JSON header, padded to 8 bytes; large element types first, as safetensors writes."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name in sorted(tensors, key=lambda n: (-DTYPE_BITS[tensors[n][0]], n)):
        dtype, shape = tensors[name]
        end = offset + tensor_bytes(dtype, shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, offset


def write(path, tensors, seed=0, sparse=False):
    """Writes a .safetensors file of random bytes (`sparse`: of a hole) and returns its path; never a half-written one.

    Bytes of BOOL tensors are zeros and ones, since readers may check them.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    head, data_bytes = header_of(tensors)
    random = np.random.Generator(np.random.SFC64(seed))
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as file:
        file.write(head)
        if sparse:
            file.truncate(len(head) + data_bytes)
        else:
            for at in range(0, data_bytes, BLOCK_BYTES):
                file.write(random.bytes(min(BLOCK_BYTES, data_bytes - at)))
            _make_bools_valid(file, partial, head)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    return path


def _make_bools_valid(file, path, head):
    file.flush()
    for facts in json.loads(head[8:]).values():
        if facts.get("dtype") == "BOOL":
            begin, end = facts["data_offsets"]
            values = np.fromfile(path, np.uint8, end - begin, offset=len(head) + begin) & 1
            file.seek(len(head) + begin)
            file.write(values.tobytes())


def write_sharded(folder, tensors, shards, seed=0):
    """Writes model-0000i-of-0000n.safetensors and their index; returns the index's path."""
    names = sorted(tensors)
    weight_map, total_bytes = {}, 0
    for i in range(shards):
        file_name = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in names[i::shards]}
        write(Path(folder) / file_name, part, seed + i)
        weight_map |= dict.fromkeys(part, file_name)
        total_bytes += sum(tensor_bytes(*facts) for facts in part.values())
    index = Path(folder) / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": total_bytes}, "weight_map": weight_map}))
    return index


def read_header(path):
    """({tensor name: {dtype, shape, data_offsets}}, where the data begins in the file)."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length


def digest(data):
    """XXH3-128 in hex: what every reader's bytes are compared by."""
    return xxhash.xxh3_128_hexdigest(data)


def digests(path):
    """{tensor name: digest} straight from the file's bytes; for an index, of all its shards together."""
    path = Path(path)
    if path.name.endswith(".index.json"):
        shards = set(json.loads(path.read_text())["weight_map"].values())
        return {name: value for shard in shards for name, value in digests(path.parent / shard).items()}
    header, data_begin = read_header(path)
    found = {}
    with path.open("rb") as file:
        for name, facts in header.items():
            begin, end = facts["data_offsets"]
            file.seek(data_begin + begin)
            found[name] = digest(file.read(end - begin))
    return found
