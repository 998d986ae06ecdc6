"""What comes is what safetensors gives, tensor by tensor."""
import json
import struct

import longshore
import longshore.numpy
import longshore.torch
import numpy
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch


def raw(tensor):
    """The bytes, so that values which are not equal to themselves compare too."""
    return tensor.contiguous().reshape(-1).view(torch.uint8) if tensor.numel() else torch.empty(0, dtype=torch.uint8)


def assert_same(ours, theirs):
    assert list(ours) == list(theirs)
    for name, wanted in theirs.items():
        assert (ours[name].dtype, ours[name].shape) == (wanted.dtype, wanted.shape), name
        assert ours[name].is_contiguous() and torch.equal(raw(ours[name]), raw(wanted)), name


def test_torch_has_every_type(every_type):
    assert_same(longshore.torch.load_file(every_type), safetensors.torch.load_file(every_type))


def test_numpy_has_what_it_has_types_for(every_type):
    model = longshore.default_runtime().load(every_type, framework="numpy")
    compared = 0
    with safetensors.safe_open(every_type, "np") as theirs:
        for name in theirs.keys():
            if model.dtype_of(name).startswith(("F8", "F4", "BF")):
                with pytest.raises(TypeError, match=model.dtype_of(name)):
                    model[name]
                continue
            wanted = theirs.get_tensor(name)
            assert (model[name].dtype, model[name].shape) == (wanted.dtype, wanted.shape), name
            assert model[name].tobytes() == wanted.tobytes(), name
            compared += 1
    assert compared == 3 * 13


def test_bytes_of_any_type(every_type):
    model = longshore.default_runtime().load(every_type)
    for name, tensor in safetensors.torch.load_file(every_type).items():
        assert model.bytes_of(name).readonly
        assert bytes(model.bytes_of(name)) == raw(tensor).numpy().tobytes()


def test_numpy_file(plain):
    ours, theirs = longshore.numpy.load_file(plain), safetensors.numpy.load_file(plain)
    assert list(ours) == list(theirs)
    for name, wanted in theirs.items():
        assert ours[name].dtype == wanted.dtype and ours[name].tobytes() == wanted.tobytes()


@pytest.mark.parametrize("framework", ("pt", "np"))
def test_safe_open(plain, framework):
    with (
        longshore.safe_open(plain, framework, device="cpu") as ours,
        safetensors.safe_open(plain, framework, device="cpu") as theirs,
    ):
        assert ours.keys() == theirs.keys()
        assert ours.offset_keys() == theirs.offset_keys()
        assert ours.metadata() == theirs.metadata()
        for name in theirs.keys():
            for of in (lambda f: f.get_tensor(name), lambda f: f.get_slice(name)[3:9, ::7]):
                wanted, came = (torch.as_tensor(of(f).copy() if framework == "np" else of(f)) for f in (theirs, ours))
                assert torch.equal(raw(came), raw(wanted))
            slices = ours.get_slice(name), theirs.get_slice(name)
            assert slices[0].get_shape() == slices[1].get_shape() and slices[0].get_dtype() == slices[1].get_dtype()
        for opened in (ours, theirs):
            with pytest.raises(safetensors.SafetensorError, match="does not contain tensor nope"):
                opened.get_tensor("nope")
    for closed in (ours, theirs):
        with pytest.raises(safetensors.SafetensorError, match="File is closed"):
            closed.keys()


def opened(path):
    with longshore.safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def test_shards(sharded):
    shards = sorted(sharded.parent.glob("*.safetensors"))
    assert len(shards) == 3
    theirs = {name: tensor for shard in shards for name, tensor in safetensors.torch.load_file(shard).items()}
    for ours in (longshore.torch.load_file(sharded), dict(longshore.Runtime().load(shards, framework="torch")), opened(sharded)):
        assert ours.keys() == theirs.keys()
        for name, wanted in theirs.items():
            assert torch.equal(raw(ours[name]), raw(wanted))


def test_elements_that_are_not_aligned(tmp_path):
    """The format lets a tensor begin anywhere; neither torch nor numpy does."""
    header = json.dumps(
        {
            "byte": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
            "word": {"dtype": "F32", "shape": [2], "data_offsets": [1, 9]},
        }
    ).encode()
    path = tmp_path / "odd.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\7" + struct.pack("<2f", 1.5, -2.0))
    assert longshore.torch.load_file(path)["word"].tolist() == [1.5, -2.0]
    array = longshore.numpy.load_file(path)["word"]
    assert array.flags.aligned and array.tolist() == [1.5, -2.0]


@pytest.mark.parametrize("hold", ("owned", "mapped", "pinned", "auto"))
def test_holds(plain, hold):
    with longshore.Runtime(host_limit=1 << 30, pin_budget=0, engine="threads") as runtime:
        assert (runtime.engine, runtime.host_limit) == ("threads", 1 << 30)
        model = runtime.load(plain, hold=hold, framework="numpy")
        assert model.is_mapped or hold != "mapped"
        assert not model.is_mapped or hold in ("mapped", "auto")
        for name, wanted in safetensors.numpy.load_file(plain).items():
            assert numpy.array_equal(model[name].view(numpy.uint8), wanted.view(numpy.uint8))
