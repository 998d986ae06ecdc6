"""What does not go together is said at once, with the nearest name."""
import longshore
import pytest
import torch
from longshore.torch import stream
from safetensors.torch import save_file
from torch import nn


@pytest.fixture
def runtime():
    with longshore.Runtime(host_limit=256 << 20, device="host", staging="32MiB", host_device_capacity=256 << 20) as made:
        yield made


@pytest.fixture
def file(tmp_path):
    def write(**tensors):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
        save_file({name.replace("__", "."): tensor.clone() for name, tensor in tensors.items()}, path)
        return path

    return write


def pair():
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, bias=False))


FIRST, BIAS = torch.ones(4, 4), torch.ones(4)


def test_names(runtime, file):
    short = file(**{"0__weight": FIRST, "0__bias": BIAS, "1__wight": FIRST})
    with pytest.raises(ValueError, match="no tensor '1.weight'.*nearest is '1.wight'"):
        stream(pair(), short, runtime=runtime)
    long = file(**{"0__weight": FIRST, "0__bias": BIAS, "1__weight": FIRST, "1__bias": BIAS})
    with pytest.raises(ValueError, match="1 tensors that the module does not have, such as '1.bias'.*nearest is '0.bias'"):
        stream(pair(), long, runtime=runtime)
    with pytest.raises(ValueError, match="no tensor that the module has"):
        stream(pair(), file(other=FIRST), strict=False, runtime=runtime)


def test_what_is_left_out_is_the_modules_own(runtime, file):
    module = pair()
    with stream(module, file(**{"0__weight": FIRST, "0__bias": BIAS, "other": BIAS}), strict=False, runtime=runtime):
        assert torch.equal(module(BIAS), module[1].weight @ torch.full((4,), 5.0))
    with torch.device("meta"):
        module = pair()
    with pytest.raises(ValueError, match="'1.weight' is on torch's meta device"):
        stream(module, file(**{"0__weight": FIRST, "0__bias": BIAS}), strict=False, runtime=runtime)


@pytest.mark.parametrize("names", ("model.", lambda name: "model." + name, {"0.weight": "model.0.weight", "0.bias": "model.0.bias", "1.weight": "model.1.weight"}))
def test_other_names(runtime, file, names):
    path = file(**{"model__0__weight": FIRST, "model__0__bias": BIAS, "model__1__weight": FIRST, "vae__weight": FIRST})
    module = pair()
    with stream(module, path, names=names, runtime=runtime):
        assert torch.equal(module(BIAS), torch.full((4,), 20.0))


def test_shapes(runtime, file):
    path = file(**{"0__weight": torch.ones(4, 5), "0__bias": BIAS, "1__weight": FIRST})
    with pytest.raises(ValueError, match=r"'0.weight' has the shape \(4, 4\) in the module and \(4, 5\) in the model"):
        stream(pair(), path, runtime=runtime)


def test_layers(runtime, file):
    path = file(**{"0__weight": FIRST, "0__bias": BIAS, "1__weight": FIRST})
    with pytest.raises(ValueError, match="none '2' that runs"):
        stream(pair(), path, layers=["2"], runtime=runtime)
    with stream(pair(), path, runtime=runtime) as it:
        with pytest.raises(ValueError, match="nothing named '3' is streamed"), it.use("3"):
            pass


def test_a_layer_that_does_not_fit(runtime, file):
    path = file(**{"0__weight": FIRST, "0__bias": BIAS, "1__weight": FIRST})
    module = pair()
    with stream(module, path, 256, runtime=runtime), pytest.raises(longshore.OutOfBudgetError, match="layer 0"):
        module(BIAS)


def test_a_runtime_without_a_device(file):
    path = file(**{"0__weight": FIRST, "0__bias": BIAS, "1__weight": FIRST})
    with longshore.Runtime(host_limit=64 << 20) as bare, pytest.raises(NotImplementedError, match="no device"):
        stream(pair(), path, runtime=bare)


def test_one_stream_a_module(runtime, file):
    path = file(**{"0__weight": FIRST, "0__bias": BIAS, "1__weight": FIRST})
    module = pair()
    with stream(module, path, runtime=runtime), pytest.raises(ValueError, match="streamed already"):
        stream(module, path, runtime=runtime)
    assert torch.equal(module[1](BIAS), module[1].weight @ BIAS)


def test_a_module_that_runs_cannot_change(runtime, file):
    path = file(**{"0__weight": FIRST, "0__bias": BIAS, "1__weight": FIRST})
    with stream(pair(), path, runtime=runtime) as it, it.use("0"), pytest.raises(ValueError, match="not while"):
        it.detach()


def test_a_model_that_was_cast(runtime, file):
    path = file(**{"0__weight": FIRST, "0__bias": BIAS, "1__weight": FIRST})
    with pytest.raises(NotImplementedError, match="cast"):
        stream(pair(), runtime.load(path, dtype="F16"), runtime=runtime)
