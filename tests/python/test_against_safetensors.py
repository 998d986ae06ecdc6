"""File by file what safetensors says: of whole layouts, of headers that are right, odd or wrong, and of slices."""
import json
import os
import struct
from pathlib import Path

import checkpoints
import longshore
import longshore.numpy
import longshore.torch
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch

LAYOUTS = sorted(Path(os.environ.get("LONGSHORE_LAYOUTS", checkpoints.LAYOUTS)).glob("*.json"))
LARGEST_DIMENSION = 96


def raw(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8) if tensor.numel() else torch.empty(0, dtype=torch.uint8)


def assert_same(ours, theirs):
    assert list(ours) == list(theirs)
    for name, wanted in theirs.items():
        assert (ours[name].dtype, ours[name].shape, ours[name].stride()) == (
            wanted.dtype,
            wanted.shape,
            wanted.stride(),
        ), name
        assert torch.equal(raw(ours[name]), raw(wanted)), name


@pytest.mark.parametrize("path", LAYOUTS, ids=lambda path: path.stem)
def test_layouts(path, data):
    """Names, types, order and ranks are the real model's; large dimensions are cut."""
    facts = json.loads(path.read_text())["tensors"]
    small = {
        name: (tensor["dtype"], [min(extent, LARGEST_DIMENSION) for extent in tensor["shape"]])
        for name, tensor in facts.items()
    }
    file = checkpoints.write(data / f"{path.stem}.safetensors", small)
    try:
        theirs = safetensors.torch.load_file(file)
        for backend in ("mmap", "pread"):
            assert_same(longshore.torch.load_file(file, backend=backend), theirs)
    finally:
        file.unlink()


def tensor(dtype="F32", shape="[2]", offsets="[0,8]", more=""):
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}{more}}}'


def one(facts):
    return f'{{"a":{facts}}}'


GOOD = {
    "nothing": ("{}", 0),
    "metadata alone": ('{"__metadata__":{"a":"b"}}', 0),
    "spaces": (f'  {{"a":{tensor()} }}  ', 8),
    "fields of the future": (one(tensor(more=',"stride":[1]')), 8),
    "a scalar": (f'{{"a":{tensor(shape="[]", offsets="[0,4]")}}}', 4),
    "no elements": (f'{{"a":{tensor(shape="[0,5]", offsets="[0,0]")},"b":{tensor()}}}', 8),
    "escapes in a name": (f'{{"\\u00e4\\n\\"x":{tensor()}}}', 8),
    "no name": (f'{{"":{tensor()}}}', 8),
    "an order of its own": (f'{{"b":{tensor(offsets="[8,16]")},"a":{tensor()}}}', 16),
    "shards of bytes": (f'{{"a":{tensor("U8", "[3]", "[0,3]")},"b":{tensor("F16", "[1]", "[3,5]")}}}', 5),
}
BAD = {
    "empty": None,
    "an array": ("[]", 0),
    "no JSON": ("{", 0),
    "trailing text": (f'{{"a":{tensor()}}}x', 8),
    "a BOM": ("\ufeff{}", 0),
    "data that nobody names": ("{}", 4),
    "too little data": (f'{{"a":{tensor()}}}', 7),
    "a hole": (f'{{"a":{tensor()},"b":{tensor(offsets="[12,20]")}}}', 20),
    "an overlap": (f'{{"a":{tensor()},"b":{tensor(offsets="[4,12]")}}}', 12),
    "begin after end": (f'{{"a":{tensor(offsets="[8,0]")}}}', 8),
    "a shape that is not the size": (f'{{"a":{tensor(shape="[3]")}}}', 8),
    "no shape": ('{"a":{"dtype":"F32","data_offsets":[0,8]}}', 8),
    "a type in small letters": (f'{{"a":{tensor("f32")}}}', 8),
    "a type that there is not": (f'{{"a":{tensor("F128")}}}', 8),
    "a negative extent": (f'{{"a":{tensor(shape="[-2]")}}}', 8),
    "a fraction": (f'{{"a":{tensor(shape="[2.0]")}}}', 8),
    "an extent beyond 64 bits": (f'{{"a":{tensor(shape="[18446744073709551616]")}}}', 8),
    "a product beyond 64 bits": (f'{{"a":{tensor(shape="[4294967296,4294967296]")}}}', 8),
    "one offset": (f'{{"a":{tensor(offsets="[0]")}}}', 8),
    "a number in the metadata": ('{"__metadata__":{"a":1}}', 0),
    "a field twice": (one(tensor(more=',"dtype":"F32"')), 8),
}


def written(folder, case):
    path = folder / "case.safetensors"
    if case is None:
        path.write_bytes(b"")
    else:
        header = case[0].encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(range(case[1])))
    return path


@pytest.mark.parametrize("title", GOOD)
def test_good_headers(title, tmp_path):
    path = written(tmp_path, GOOD[title])
    theirs = safetensors.torch.load_file(path)
    for backend in ("mmap", "pread"):
        assert_same(longshore.torch.load_file(path, backend=backend), theirs)
    with longshore.safe_open(path, "pt") as ours, safetensors.safe_open(path, "pt") as reference:
        assert ours.metadata() == reference.metadata() and ours.offset_keys() == reference.offset_keys()


@pytest.mark.parametrize("title", BAD)
def test_bad_headers(title, tmp_path):
    path = written(tmp_path, BAD[title])
    for load in (safetensors.torch.load_file, longshore.torch.load_file, longshore.numpy.load_file):
        with pytest.raises(safetensors.SafetensorError) as caught:
            load(path)
    assert str(path) in str(caught.value)
    for open_file in (safetensors.safe_open, longshore.safe_open):
        with pytest.raises(safetensors.SafetensorError):
            open_file(path, "pt")


@pytest.mark.parametrize("loader", (safetensors.torch.load_file, longshore.torch.load_file), ids=("theirs", "ours"))
def test_a_file_that_is_not_there(loader, tmp_path):
    with pytest.raises(FileNotFoundError):
        loader(tmp_path / "none.safetensors")


SLICES = (
    0,
    -1,
    slice(None),
    slice(2, 5),
    slice(None, None, 3),
    (slice(1, 4), slice(2, 3)),
    (0, slice(5)),
    (Ellipsis, 1),
)


@pytest.mark.parametrize("framework", ("pt", "np"))
@pytest.mark.parametrize("index", SLICES, ids=str)
def test_slices(framework, index, plain):
    with longshore.safe_open(plain, framework) as ours, safetensors.safe_open(plain, framework) as theirs:
        wanted, came = (opened.get_slice("layer.03")[index] for opened in (theirs, ours))
        assert tuple(came.shape) == tuple(wanted.shape) and came.dtype == wanted.dtype
        assert torch.equal(raw(torch.as_tensor(came.copy() if framework == "np" else came)),
                           raw(torch.as_tensor(wanted)))  # fmt: skip
