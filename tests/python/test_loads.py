"""Loads that are not waited for: futures, asyncio, cancelling, progress; casts; devices; settings."""
import asyncio
import gc
import threading

import longshore
import longshore.torch
import numpy
import pytest
import safetensors.torch
import torch

WAIT_S = 60


def raw(tensors):
    return {name: numpy.asarray(tensor).tobytes() for name, tensor in tensors.items()}


@pytest.fixture
def runtime():
    with longshore.Runtime(host_limit="1GiB") as made:
        yield made


def test_a_hundred_at_once_are_one_read(plain, sharded, runtime):
    async def all_of_them():
        return await asyncio.gather(*(runtime.submit((plain, sharded)[i % 2], hold="owned") for i in range(100)))

    models = asyncio.run(all_of_them())
    assert runtime.cache.stats().misses == 2
    wanted = raw(safetensors.torch.load_file(plain))
    assert all(raw(model) == wanted for model in models[::2])
    assert len({model.generation for model in models}) == 2


def test_a_future_is_one_of_the_standard_library(plain, runtime):
    load = runtime.submit(plain, framework="numpy")
    told = threading.Event()
    load.add_done_callback(lambda done: told.set())
    assert load.result(WAIT_S)["layer.00"].shape == (256, 320)
    assert load.done() and not load.cancelled() and load.exception() is None
    assert told.wait(WAIT_S)
    assert load.progress == (plain.stat().st_size, plain.stat().st_size, "ready")


def test_what_goes_wrong_is_the_futures(tmp_path, plain, runtime):
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"short")
    assert isinstance(runtime.submit(bad).exception(WAIT_S), longshore.FormatError)
    with pytest.raises(FileNotFoundError):
        runtime.submit(tmp_path / "none.safetensors")

    async def awaited():
        await runtime.submit(plain, mode="read_only", key="nothing")

    with pytest.raises(longshore.NotFoundError, match="nothing is cached under 'nothing'"):
        asyncio.run(awaited())


def started(runtime, huge, **how):
    """A load that has begun to read, and will not end by itself soon."""
    reads = threading.Event()
    load = runtime.submit(huge, hold="owned", progress=lambda done, total, stage: done and reads.set(), **how)
    assert reads.wait(WAIT_S)
    return load


def until_nothing_loads(runtime):
    """Asks until the registry says so; bounded by the load's own deadline."""
    for _ in range(100_000):
        if runtime.status().host_used == 0 and not runtime.status().loads:
            return True
    return False


@pytest.fixture
def large():
    with longshore.Runtime(host_limit="12GiB", warm=0) as made:
        yield made


def test_cancel(huge, large):
    load = started(large, huge)
    assert large.status().loads[0].waits_for == "disk"
    assert load.cancel() and load.cancelled()
    assert until_nothing_loads(large)
    assert huge.name not in str(large.cache.keys())


def test_dropping_cancels(huge, large):
    load = started(large, huge)
    del load
    gc.collect()
    assert until_nothing_loads(large)


def test_cancelling_a_task_cancels(huge, large):
    async def cancelled():
        load = started(large, huge)
        task = asyncio.ensure_future(asyncio.wrap_future(load))
        del load
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert until_nothing_loads(large)


def test_one_of_two_gives_up(plain, runtime):
    first, second = runtime.submit(plain, hold="owned"), runtime.submit(plain, hold="owned")
    first.cancel()
    assert raw(second.result(WAIT_S)) == raw(safetensors.torch.load_file(plain))


def test_prefetch_goes_on_when_it_is_dropped(plain, runtime):
    runtime.prefetch(plain, "later")
    model = runtime.cache.get("later", framework="numpy")  # waits for the load that is on its way
    assert len(model) == 64 and runtime.cache.stats().misses == 1


def test_close_ends_what_loads(huge, large):
    load = started(large, huge)
    large.close()
    assert isinstance(load.exception(WAIT_S), longshore.StoppedError)


def test_progress_of_a_call(plain, runtime):
    seen = []
    runtime.load(plain, hold="owned", progress=lambda *news: seen.append(news))
    size = plain.stat().st_size
    assert seen[-1] == (size, size, "ready")
    assert all(a[0] <= b[0] for a, b in zip(seen, seen[1:]))


def test_progress_as_a_bar(plain, runtime, capsys):
    runtime.load(plain, progress=True)
    assert "plain.safetensors: 100%" in capsys.readouterr().err
    with pytest.raises(ValueError, match="progress"):
        runtime.load(plain, progress=3)


def test_a_callback_that_raises_is_reported_and_the_load_goes_on(plain, sharded, runtime, monkeypatch):
    reported = []
    monkeypatch.setattr(threading, "excepthook", reported.append)

    def fail(*_):
        raise RuntimeError("of the callback")

    assert len(runtime.submit(plain, hold="owned", progress=fail).result(WAIT_S)) == 64
    assert len(runtime.submit(sharded).result(WAIT_S)) == 12
    assert {str(one.exc_value) for one in reported} == {"of the callback"}


@pytest.mark.parametrize("wish", (torch.float32, torch.bfloat16, "F16", "float16", numpy.dtype("float32")))
@pytest.mark.parametrize("backend", ("auto", "pread"))
def test_casts(plain, wish, backend):
    dtype = {"F16": torch.float16, "float16": torch.float16}.get(str(wish)) or getattr(torch, str(wish).split(".")[-1])
    wanted = {name: tensor.to(dtype) for name, tensor in safetensors.torch.load_file(plain).items()}
    ours = longshore.torch.load_file(plain, dtype=wish, backend=backend)
    assert list(ours) == list(wanted)
    for name, tensor in wanted.items():
        # NaN stays NaN; which one, torch's own code for different processors does not agree on.
        bits = torch.int16 if dtype.itemsize == 2 else torch.int32
        same = (ours[name].view(bits) == tensor.view(bits)) | (ours[name].isnan() & tensor.isnan())
        assert ours[name].dtype == dtype and same.all(), name


def test_casts_by_name(plain, runtime):
    model = runtime.load(plain, dtype={"layer.0": torch.bfloat16, "layer.03": "F32", "nothing": "F16"})
    file = safetensors.torch.load_file(plain)
    assert {name: tensor.dtype for name, tensor in model.items()} == {
        name: torch.float32 if name == "layer.03" else torch.bfloat16 if name < "layer.1" else file[name].dtype
        for name in file
    }
    assert runtime.load(plain, dtype={"layer.0": "bfloat16", "layer.03": "float32", "nothing": "F16"}).hit


def test_a_cast_is_another_entry(plain, runtime):
    as_they_are, halves = runtime.load(plain), runtime.load(plain, dtype="F16")
    assert {as_they_are[name].dtype for name in halves} == {torch.float16, torch.float32}
    assert {halves[name].dtype for name in halves} == {torch.float16}
    assert runtime.load(plain).hit and runtime.load(plain, dtype=torch.float16).hit
    for wrong in ("F17", object()):
        with pytest.raises(ValueError, match="no type"):
            runtime.load(plain, dtype=wrong)


def test_a_device(plain):
    wanted = raw(safetensors.torch.load_file(plain))
    with longshore.Runtime(host_limit="1GiB", device="host", host_device_capacity="256MiB") as runtime:
        model = runtime.load(plain, device="host")
        assert model.device == "host" and raw(model) == wanted
        halves = runtime.load(plain, device="host", dtype="F16", host_copy=True)
        assert {tensor.dtype for tensor in halves.values()} == {torch.float16}
        assert [entry.tier for entry in runtime.cache.entries()] == ["device", "device"]
        with pytest.raises(ValueError, match="this runtime's device is 'host', not 'cuda:0'"):
            runtime.load(plain, device="cuda:0")
    assert raw(model) == wanted


def test_a_device_that_is_not_there():
    with pytest.raises(ValueError, match="no device 'tpu'"):
        longshore.Runtime(device="tpu")


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("LONGSHORE_HOST_LIMIT", "64MiB")
    monkeypatch.setenv("LONGSHORE_ENGINE", "threads")
    with longshore.Runtime() as runtime:
        assert (runtime.host_limit, runtime.engine) == (64 << 20, "threads")
    with longshore.Runtime(host_limit="1 GB") as runtime:
        assert runtime.host_limit == 10**9
    monkeypatch.setenv("LONGSHORE_HOST_LIMIT", "much")
    with pytest.raises(ValueError, match="host_limit: 'much' is no size"):
        longshore.Runtime()


def test_an_option_that_there_is_not(plain, runtime):
    with pytest.raises(TypeError, match="no option 'colour'"):
        runtime.load(plain, colour="red")


def test_the_default_runtime_can_be_chosen(plain):
    before = longshore.default_runtime()
    with longshore.Runtime(host_limit="64MiB") as mine:
        longshore.set_default_runtime(mine)
        try:
            longshore.torch.load_file(plain, backend="pread")
            assert mine.cache.stats().misses == 1
        finally:
            longshore.set_default_runtime(before)
