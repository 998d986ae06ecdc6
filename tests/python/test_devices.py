"""Tensors in a device's memory, without a copy. What a GPU would be told is looked at on the device "host"."""
import ctypes
import gc
import threading

import longshore
import longshore.torch
import pytest
import safetensors.torch
import torch
from longshore import _arrays, _gpu_arrays
from test_equality import assert_same, raw


@pytest.fixture
def runtime():
    with longshore.Runtime(host_limit="512MiB", device="host", host_device_capacity="64MiB") as running:
        yield running


@pytest.fixture
def as_default(runtime):
    before = longshore.default_runtime()
    longshore.set_default_runtime(runtime)
    yield runtime
    longshore.set_default_runtime(before)


def leases_of(runtime):
    gc.collect()
    return sum(entry.leases for entry in runtime.cache.entries())


def test_every_type(every_type, runtime):
    model = runtime.load(every_type, device="host")
    assert model.device == "host"
    assert_same(model.tensors(), safetensors.torch.load_file(every_type))


def test_a_tensor_is_the_devices_memory(plain, runtime):
    first, second = (runtime.load(plain, device="host")["layer.03"] for _ in range(2))
    assert first.data_ptr() == second.data_ptr() and first.data_ptr() % 256 == 0
    assert first.untyped_storage().nbytes() == first.nbytes


def test_a_tensor_holds_the_lease(plain, runtime):
    wanted = safetensors.torch.load_file(plain)["layer.03"]
    view = runtime.load(plain, device="host")["layer.03"][5:, ::2].t()
    assert leases_of(runtime) == 1
    runtime.cache.clear()
    runtime.load(plain, "another", device="host", mode="override")  # would be given the memory, were it free
    assert torch.equal(raw(view), raw(wanted[5:, ::2].t()))


def test_load_file_to_the_default_runtimes_device(every_type, as_default):
    ours = longshore.torch.load_file(every_type, device="host")
    assert_same(ours, safetensors.torch.load_file(every_type))
    assert as_default.cache.stats().misses == 1 and as_default.status().staging["peak"] > 0
    ours["float32.matrix"].zero_()  # nobody else's
    again = longshore.torch.load_file(every_type, device="host")["float32.matrix"]
    assert torch.equal(again, safetensors.torch.load_file(every_type)["float32.matrix"])


@pytest.mark.parametrize("device", ("cuda", 0, torch.device("cuda"), torch.device("cuda", 0)))
def test_names_of_a_gpu(plain, runtime, device):
    with pytest.raises(ValueError, match="device is 'host', not 'cuda:0'"):
        runtime.load(plain, device=device)


class Stream:
    """A stand-in for torch's streams, whose work is over when the test says so."""

    def __init__(self):
        self.over = threading.Event()

    def query(self):
        return self.over.is_set()

    def record_event(self):
        return self

    def synchronize(self):
        assert self.over.wait(60)


@pytest.fixture
def stream(monkeypatch):
    """torch as it is where there is a GPU, as far as it is asked: it takes addresses by CUDA's array interface."""
    made = Stream()

    def as_tensor(source, device):
        about = source.__cuda_array_interface__
        assert (about["version"], about["typestr"], about["strides"], about["stream"]) == (3, "|u1", None, None)
        address, read_only = about["data"]
        assert not read_only and device == torch.device("cuda:0")
        memory = (ctypes.c_uint8 * about["shape"][0]).from_address(address)
        memory.source = source  # as torch's tensors hold it
        return torch.frombuffer(memory, dtype=torch.uint8)

    monkeypatch.setattr(torch, "as_tensor", as_tensor)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: made)
    _arrays._torch_maker.cache_clear()
    yield made
    made.over.set()
    _arrays._torch_maker.cache_clear()


def tensors_as_on_a_gpu(model):
    make = _arrays.maker("torch", "cuda:0")
    return {name: make(*where) for name, where in model._tensors.items() if where[2][3]}


def test_what_a_gpu_is_told(every_type, runtime, stream):
    model = runtime.load(every_type, device="host")
    wanted = safetensors.torch.load_file(every_type)
    assert_same(tensors_as_on_a_gpu(model), {name: wanted[name] for name in model if wanted[name].numel()})


def test_a_lease_lasts_until_the_stream_is_through(plain, runtime, stream):
    tensor = tensors_as_on_a_gpu(runtime.load(plain, device="host"))["layer.03"]
    stream.over.set()
    del tensor
    assert leases_of(runtime) == 0  # nothing was queued any more
    stream.over.clear()
    tensor = tensors_as_on_a_gpu(runtime.load(plain, device="host"))["layer.03"]
    del tensor
    assert leases_of(runtime) == 1
    stream.over.set()
    empty = threading.Event()
    _gpu_arrays._keeper().keep(None, type("Event", (), {"synchronize": staticmethod(empty.set)}))  # its turn is the last
    assert empty.wait(60) and leases_of(runtime) == 0


def test_a_gpu_that_fails_keeps_nothing(plain, runtime, stream, monkeypatch):
    def lost():
        raise RuntimeError("the device is lost")

    tensors = tensors_as_on_a_gpu(runtime.load(plain, device="host"))
    monkeypatch.setattr(stream, "query", lost)
    tensors.clear()
    assert leases_of(runtime) == 0
