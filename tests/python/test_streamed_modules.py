"""A streamed module computes what the module with all its weights does, bit for bit, and is given back as it was."""
import copy
import gc
import pickle
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import longshore
import pytest
import streamed
import torch
from longshore.torch import stream
from torch import nn

LAYER_BYTES = 512 << 10
WAIT_S = 60


@pytest.fixture(scope="module")
def whole():
    torch.manual_seed(1)
    return streamed.Net().eval()


@pytest.fixture(scope="module")
def path(whole, data):
    streamed.write(whole, data / "net.safetensors")
    return data / "net.safetensors"


@pytest.fixture(scope="module")
def model_bytes(path):
    return path.stat().st_size


@pytest.fixture
def runtime():
    with longshore.Runtime(host_limit=256 << 20, device="host", staging="32MiB", host_device_capacity=256 << 20) as made:
        yield made


@pytest.fixture
def net(whole):
    return streamed.same_but_empty(whole)


def expect_same(net, whole, seed, **how):
    with torch.inference_mode():
        assert torch.equal(net(streamed.tokens(seed), **how), whole(streamed.tokens(seed), **how))


@pytest.mark.parametrize("copy_", (False, True))
@pytest.mark.parametrize("percent", (25, 50, 75, 100))
def test_fifty_steps_are_those_of_the_whole_module(net, whole, path, model_bytes, runtime, percent, copy_):
    budget = model_bytes * percent // 100 + (percent == 100) * LAYER_BYTES
    with stream(net, path, budget, layer_bytes=LAYER_BYTES, copy=copy_, runtime=runtime) as it:
        for step in range(50):
            expect_same(net, whole, step, skip=(2, 5) if step % 7 == 3 else ())
        status = it.status()
        assert status.passes == 50 and status.device_peak <= budget
        assert (status.moved <= model_bytes) == (percent == 100)
        assert (status.from_disk > 0) != copy_


def test_the_budget_changes_in_mid_run(net, whole, path, model_bytes, runtime):
    with stream(net, path, 2 * model_bytes, layer_bytes=LAYER_BYTES, runtime=runtime) as it:
        for step in range(50):
            if step == 10:
                assert it.resize(model_bytes // 3) > 0
            if step == 20:
                assert it.make_room(model_bytes // 20) > 0
            if step == 30:
                it.resize(2 * model_bytes)
            expect_same(net, whole, step)
            if step in (15, 25):
                assert it.status().device <= it.status().budget < model_bytes / 2
        assert it.status().resident == it.status().model


def test_weights_are_cast_on_their_way(whole, path, model_bytes, runtime):
    half = copy.deepcopy(whole).to(torch.bfloat16)
    half.steps = whole.steps.to(torch.bfloat16)
    net = streamed.same_but_empty(whole)
    net.steps = half.steps
    with stream(net, path, model_bytes // 3, layer_bytes=LAYER_BYTES, dtype=torch.bfloat16, runtime=runtime):
        assert net.position.dtype == torch.bfloat16
        for step in range(3):
            expect_same(net, half, step)


def test_a_model_of_several_files_and_one_that_is_loaded(whole, path, model_bytes, runtime, tmp_path):
    state = longshore.torch.load_file(path)
    parts = [tmp_path / "first.safetensors", tmp_path / "second.safetensors"]
    for number, part in enumerate(parts):
        streamed.save_file({name: state[name] for name in sorted(state)[number::2]}, part)
    for model in (parts, runtime.load(path), runtime.load(parts, hold="owned", kind="diffusion_model")):
        net = streamed.same_but_empty(whole)
        with stream(net, model, model_bytes // 3, layer_bytes=LAYER_BYTES, runtime=runtime):
            for step in range(3):
                expect_same(net, whole, step)


def test_layers_of_ones_own(net, whole, path, model_bytes, runtime):
    chosen = [["blocks.0", "blocks.1"], "blocks.3", "recurrent"]
    with stream(net, path, model_bytes // 2, layers=chosen, layer_bytes=LAYER_BYTES, runtime=runtime) as it:
        assert {"blocks.0 .. blocks.1", "blocks.3", "recurrent"} <= set(it.layers)
        for step in range(3):
            expect_same(net, whole, step)


def test_small_neighbours_are_one_layer(runtime, tmp_path):
    small = nn.Sequential(*(nn.Linear(8, 8) for _ in range(20)), nn.Linear(8, 4096), nn.Linear(4096, 8))
    streamed.save_file(small.state_dict(), tmp_path / "small.safetensors")
    with stream(small, tmp_path / "small.safetensors", layer_bytes="148KiB", runtime=runtime) as it:
        assert it.layers == ["0 .. 19", "20", "21"]


def test_it_goes_without_a_trace(whole, path, model_bytes, runtime):
    net = copy.deepcopy(whole)
    net.blocks[1].forward = net.blocks[1].forward
    before = {name: (id(tensor), tensor.data_ptr()) for name, tensor in net.state_dict(keep_vars=True).items()}
    forwards = {name: module.__dict__.get("forward") for name, module in net.named_modules()}
    it = stream(net, path, model_bytes // 3, layer_bytes=LAYER_BYTES, runtime=runtime)
    expect_same(net, whole, 0)
    for _ in range(2):
        it.detach()
        after = {name: (id(tensor), tensor.data_ptr()) for name, tensor in net.state_dict(keep_vars=True).items()}
        assert after == before and list(after) == list(before)
        assert {name: module.__dict__.get("forward") for name, module in net.named_modules()} == forwards
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
        expect_same(net, whole, 1)
    stream(net, path, model_bytes // 3, layer_bytes=LAYER_BYTES, runtime=runtime)
    expect_same(net, whole, 2)


def test_weights_are_not_to_be_had_outside(net, path, runtime):
    with stream(net, path, runtime=runtime, layer_bytes=LAYER_BYTES) as it:
        weight = net.blocks[3].up.weight
        assert (tuple(weight.shape), weight.dtype, weight.device) == ((256, 64), torch.float32, torch.device("cpu"))
        assert isinstance(weight, nn.Parameter) and len(list(net.parameters())) > 80
        assert net.to("cpu") is net
        attempts = {
            "is streamed": (lambda: weight.sum(), net.state_dict, lambda: torch.cat([weight, weight])),
            "cannot be copied": (lambda: copy.deepcopy(net),),
            "cannot be pickled": (lambda: pickle.dumps(net),),
            "`dtype`": (lambda: net.to(torch.float16),),
        }
        for word, calls in attempts.items():
            for call in calls:
                with pytest.raises(longshore.AbsentWeightError, match=word):
                    call()
        with it.use("blocks.3", "head"):
            net.blocks[3].up.weight.sum()
            net.head.weight.sum()
        with pytest.raises(longshore.AbsentWeightError, match="'blocks.3.up.weight'"):
            net.blocks[3].up.weight.sum()


def test_what_someone_keeps_stays_good(net, whole, path, model_bytes, runtime):
    it = stream(net, path, model_bytes // 4, layer_bytes=LAYER_BYTES, runtime=runtime)
    kept = []
    with it.use("blocks.2.up"):
        kept += [net.blocks[2].up.weight, net.blocks[2].up.bias[3:].view(-1, 1)]
    for step in range(10):
        expect_same(net, whole, step)
    it.detach()
    runtime.close()
    del it
    gc.collect()
    with torch.no_grad():
        assert torch.equal(kept[0], whole.blocks[2].up.weight)
        assert torch.equal(kept[1][:, 0], whole.blocks[2].up.bias[3:])


def test_gradients_of_inputs(net, whole, path, model_bytes, runtime):
    gradients, whole = [], copy.deepcopy(whole).requires_grad_(False)
    with stream(net, path, model_bytes // 4, layer_bytes=LAYER_BYTES, runtime=runtime):
        for module in (net, whole):
            x = torch.ones(2, 16, 64, requires_grad=True)
            for block in module.blocks:
                x_in = x if block is module.blocks[0] else y
                y = block(x_in)
            y.square().sum().backward()
            gradients.append(x.grad)
    assert torch.equal(*gradients)


def test_code_that_calls_modules_inside(net, whole, path, model_bytes, runtime):
    """Passes are noticed without the module's own forward, so that the order is learned."""
    with stream(net, path, model_bytes // 2, layer_bytes=LAYER_BYTES, runtime=runtime) as it, torch.inference_mode():
        departures = []
        for _ in range(5):
            departures.append(it.status().departures)
            x = y = torch.ones(2, 16, 64)
            for ours, theirs in zip(net.blocks, whole.blocks):
                x, y = ours(x), theirs(y)
            assert torch.equal(x, y)
        assert it.status().passes == 5 and departures[1:] == [departures[1]] * 4


def test_failures_inside_leave_it_usable(net, whole, path, model_bytes, runtime):
    with stream(net, path, model_bytes // 4, layer_bytes=LAYER_BYTES, runtime=runtime):
        for kind in (ValueError, KeyboardInterrupt):

            def fail(*_):
                raise kind("in the middle")

            hook = net.blocks[4].up.register_forward_pre_hook(fail)
            with pytest.raises(kind, match="in the middle"):
                net(streamed.tokens())
            hook.remove()
            with pytest.raises(longshore.AbsentWeightError):
                net.blocks[4].down.weight.sum()
            expect_same(net, whole, 1)


def allocation_fails(module, times):
    """The module's forward fails so many times as torch's does when memory is short."""
    left = [times]

    def fail(*_):
        if left[0]:
            left[0] -= 1
            torch.empty(1 << 60, dtype=torch.uint8)

    return module.register_forward_pre_hook(fail)


def test_an_allocation_that_fails_is_tried_again(net, whole, path, model_bytes, runtime):
    with stream(net, path, 2 * model_bytes, layer_bytes=LAYER_BYTES, runtime=runtime) as it:
        for step in range(10):
            hook = allocation_fails(net.blocks[5], step == 4)
            expect_same(net, whole, step)
            hook.remove()
        assert 0 < it.status().budget < model_bytes
        it.resize(2 * model_bytes)
        expect_same(net, whole, 10)
        allocation_fails(net.blocks[5], 2)
        with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
            net(streamed.tokens())
        expect_same(net, whole, 11)


def test_what_was_changed_in_place_is_not_computed_twice(net, path, model_bytes, runtime):
    seen = []
    with stream(net, path, 2 * model_bytes, layer_bytes=LAYER_BYTES, runtime=runtime), torch.no_grad():
        net.blocks[0].register_forward_pre_hook(lambda module, args: seen.append(tokens.zero_()))
        allocation_fails(net.blocks[5], 1)
        tokens = streamed.tokens()
        with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
            net(tokens)
    assert len(seen) == 1


def test_threads(net, whole, path, model_bytes, runtime):
    with stream(net, path, model_bytes, layer_bytes=LAYER_BYTES, runtime=runtime), ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: expect_same(net, whole, seed), range(24)))


def test_compiled_layers(whole, path, model_bytes, runtime):
    """Each layer's forward is a graph of its own, which weights that come and go do not make anew."""
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    for compiled in (lambda net: torch.compile(net, backend=backend), lambda net: net):
        torch.compiler.reset()
        graphs.clear()
        net = streamed.same_but_empty(whole)
        with stream(net, path, model_bytes // 3, layer_bytes=LAYER_BYTES, runtime=runtime):
            run = compiled(net)
            if run is net:
                for block in net.blocks:
                    block.compile(backend=backend)
            expect_same(run, whole, 0)
            first = len(graphs)
            for step in range(4):
                expect_same(run, whole, step)
            assert len(graphs) == first > 0


def test_a_stream_ends_with_its_runtime(net, path, runtime):
    stream(net, path, layer_bytes=LAYER_BYTES, runtime=runtime)
    runtime.close()
    with pytest.raises(longshore.StoppedError):
        net(streamed.tokens())


def test_interrupt_ends_the_wait_for_a_layer(child, huge):
    source = """
import sys, threading, time, longshore, torch
from longshore.torch import stream
class Wide(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.block = torch.nn.ParameterList(torch.empty(1 << 26, device="meta") for _ in range(12))
    def forward(self):
        print("computed")
wide = Wide()
it = stream(wide, sys.argv[1], strict=False, copy=False, runtime=longshore.Runtime(device="host"))
def watch():
    while not it.status().device:
        pass
    print("waiting", flush=True)
threading.Thread(target=watch).start()
try:
    wide()
except KeyboardInterrupt:
    print(time.monotonic(), flush=True)
"""
    process = child(source, huge)
    assert process.stdout.readline() == "waiting\n", process.stderr.read()
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert float(process.stdout.readline()) - sent < 0.1
    process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
