"""Memory lives as long as a view of it, is shared by readers only, and never written to through a reader."""
import gc
import pickle
from concurrent.futures import ThreadPoolExecutor

import longshore
import longshore.numpy
import longshore.torch
import numpy
import pytest
import safetensors.numpy
import safetensors.torch
import torch


@pytest.mark.parametrize("hold", ("owned", "mapped"))
def test_views_outlive_model_and_runtime(plain, hold):
    wanted = safetensors.torch.load_file(plain)["layer.03"].numpy()
    with longshore.Runtime(host_limit=256 << 20) as runtime:
        model = runtime.load(plain, hold=hold, framework="numpy")
        view = model["layer.03"][5:, ::2].T
        raw = model.bytes_of("layer.03")
    del model, runtime
    gc.collect()
    with longshore.Runtime(host_limit=256 << 20) as other:  # would be given the memory, were it free
        others = [other.load(plain, str(i), hold=hold) for i in range(3)]
        assert numpy.array_equal(view.view(numpy.uint32), wanted[5:, ::2].T.view(numpy.uint32))
        assert bytes(raw) == wanted.tobytes()
    del others


def test_tensors_outlive_model_and_runtime(plain):
    wanted = safetensors.torch.load_file(plain)["layer.03"]
    with longshore.Runtime(host_limit=256 << 20) as runtime:
        tensor = runtime.load(plain, framework="torch")["layer.03"][7:].t()
    array = tensor.numpy()
    del runtime, tensor
    gc.collect()
    assert array.tobytes() == wanted[7:].t().numpy().tobytes()
    assert pickle.loads(pickle.dumps(array)).tobytes() == array.tobytes()


def test_memory_comes_back_with_the_last_view(plain):
    size = plain.stat().st_size
    with longshore.Runtime(host_limit=size * 3 // 2) as runtime:
        for _ in range(4):
            first = runtime.load(plain, hold="owned", writable=True)["layer.00"]
            with pytest.raises(longshore.LoadTimeoutError):  # it waits for memory that is not given back
                runtime.load(plain, hold="owned", writable=True, deadline=0.3)
            del first


def test_what_readers_share_is_read_only(plain):
    runtime = longshore.default_runtime()
    for hold in ("owned", "mapped"):
        array = runtime.load(plain, hold=hold, framework="numpy")["layer.01"]
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
        with pytest.raises(ValueError):
            array.flags.writeable = True
    first, second = (runtime.load(plain, hold="owned", framework=f)["layer.01"] for f in ("numpy", "torch"))
    assert first.ctypes.data == second.data_ptr()


@pytest.mark.parametrize("hold", ("owned", "mapped"))
@pytest.mark.parametrize("framework", ("numpy", "torch"))
def test_writers_share_nothing(plain, hold, framework):
    """Neither with each other nor with readers, whoever came first; and the file never changes."""
    before = plain.read_bytes()
    wanted = safetensors.numpy.load_file(plain)["layer.05"].tobytes()
    with longshore.Runtime() as runtime:
        how = {"hold": hold, "framework": framework}
        first = runtime.load(plain, writable=True, **how)["layer.05"]
        reader = runtime.load(plain, **how)["layer.05"]
        second = runtime.load(plain, writable=True, **how)["layer.05"]
        first[:] = 42
        late_reader = runtime.load(plain, "late", **how)["layer.05"]
        for other in (reader, second, late_reader):
            assert numpy.asarray(other).tobytes() == wanted
        assert (numpy.asarray(first) == 42).all()
    assert plain.read_bytes() == before


def test_load_file_gives_what_may_be_written_to(plain):
    for load in (longshore.numpy.load_file, longshore.torch.load_file):
        for backend in ("auto", "mmap", "pread"):
            mine, other = load(plain, backend=backend), load(plain, backend=backend)
            mine["layer.02"][:] = 7
            assert not (numpy.asarray(other["layer.02"]) == 7).all()
    assert safetensors.torch.load_file(plain)["layer.02"].ne(7).any()


def test_what_is_writable_has_no_place_in_the_cache(plain):
    with longshore.Runtime() as runtime:
        model = runtime.load(plain, writable=True)
        assert len(runtime.cache) == 0 and not model.hit
        for arguments in ({"key": "mine"}, {"mode": "override"}, {"keep": True}):
            with pytest.raises(ValueError, match="nobody else's"):
                runtime.load(plain, writable=True, **arguments)


def test_a_tensor_takes_no_more_along_than_itself(plain, tmp_path):
    tensor = longshore.torch.load_file(plain)["layer.00"]
    torch.save(tensor, tmp_path / "one.pt")
    assert (tmp_path / "one.pt").stat().st_size < 2 * tensor.nbytes


def test_threads(plain, sharded):
    shards = sharded.parent.glob("*.safetensors")
    wanted = {
        plain: safetensors.numpy.load_file(plain),
        sharded: {name: array for shard in shards for name, array in safetensors.numpy.load_file(shard).items()},
    }

    def is_right(number):
        path = (plain, sharded)[number % 2]
        if number % 3:
            ours = longshore.numpy.load_file(path)
        else:
            ours = {name: tensor.numpy() for name, tensor in longshore.torch.load_file(path).items()}
        return ours.keys() == wanted[path].keys() and all(
            ours[name].tobytes() == array.tobytes() for name, array in wanted[path].items()
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(is_right, range(48)))
