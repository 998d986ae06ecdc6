"""LoRAs of a streamed module: bit for bit what torch makes of the whole module's weights, and never in the base."""
import copy

import longshore
import pytest
import streamed
import torch
from longshore.torch import stream
from torch import nn

LAYER_BYTES = 512 << 10
RANK = 4


@pytest.fixture(scope="module")
def whole():
    torch.manual_seed(2)
    return streamed.Net().eval()


@pytest.fixture(scope="module")
def path(whole, data):
    streamed.write(whole, data / "base-of-loras.safetensors")
    return data / "base-of-loras.safetensors"


@pytest.fixture
def runtime():
    with longshore.Runtime(host_limit=256 << 20, device="host", staging="32MiB", host_device_capacity=256 << 20) as made:
        yield made


def lora_of(path, whole, names, seed, style="lora_unet_"):
    """A file, and {module: (up, down, alpha)}."""
    random = torch.Generator().manual_seed(seed)
    tensors, pairs = {}, {}
    for name in names:
        out, in_ = whole.get_submodule(name).weight.shape
        up, down = torch.randn(out, RANK, generator=random) / 8, torch.randn(RANK, in_, generator=random) / 8
        alpha = 3.0 if style == "lora_unet_" else RANK
        pairs[name] = up, down, alpha
        if style == "lora_unet_":
            stem = style + name.replace(".", "_")
            tensors |= {f"{stem}.lora_up.weight": up, f"{stem}.lora_down.weight": down, f"{stem}.alpha": torch.tensor(alpha)}
        else:
            tensors |= {f"{style}{name}.lora_B.weight": up, f"{style}{name}.lora_A.weight": down}
    streamed.save_file(tensors, path)
    return path, pairs


def with_loras(whole, *loras):
    """The whole module, its weights patched by torch: (pairs, strength) each."""
    patched = copy.deepcopy(whole)
    for pairs, strength in loras:
        for name, (up, down, alpha) in pairs.items():
            weight = patched.get_submodule(name).weight
            weight.data = weight + strength * (alpha / RANK) * (up @ down)
    return patched


def expect_same(net, reference, seed):
    with torch.inference_mode():
        assert torch.equal(net(streamed.tokens(seed)), reference(streamed.tokens(seed)))


NAMES = ["blocks.1.up", "blocks.1.down", "blocks.4.attention.out_proj", "blocks.6.shared", "head"]


@pytest.mark.parametrize("percent", (25, 100))
def test_on_and_off_over_fifty_steps(whole, path, runtime, tmp_path, percent):
    first, first_pairs = lora_of(tmp_path / "first.safetensors", whole, NAMES[:4], 3)
    second, second_pairs = lora_of(tmp_path / "second.safetensors", whole, NAMES[:1] + ["blocks.7.down"], 4, "transformer.")
    net = streamed.same_but_empty(whole)
    loras, reference = {}, whole
    with stream(net, path, path.stat().st_size * percent // 100, layer_bytes=LAYER_BYTES, runtime=runtime) as it:
        for step in range(50):
            if step == 5:
                loras[1] = it.add_lora(first, 0.75)
                reference = with_loras(whole, (first_pairs, 0.75))
            if step == 12:
                loras[1].strength = -1.5
                reference = with_loras(whole, (first_pairs, -1.5))
            if step == 20:
                loras[2] = it.add_lora(runtime.load(second, kind="lora"), 0.5)
                reference = with_loras(whole, (first_pairs, -1.5), (second_pairs, 0.5))
            if step == 28:
                loras[1].strength = 0
                reference = with_loras(whole, (second_pairs, 0.5))
            if step == 35:
                loras[1].remove()
                loras[1].remove()
                assert it.loras == [loras[2]]
            if step == 42:
                loras[2].remove()
                reference = whole
            expect_same(net, reference, step)


def test_tied_weights_are_patched_everywhere(whole, path, runtime, tmp_path):
    """The base's file has the weight under one of its names."""
    file, pairs = lora_of(tmp_path / "tied.safetensors", whole, ["embed"], 5)
    reference = with_loras(whole, (pairs, 1.0))
    reference.head.weight = reference.embed.weight
    net = streamed.same_but_empty(whole)
    with stream(net, path, layer_bytes=LAYER_BYTES, runtime=runtime) as it:
        it.add_lora(file)
        expect_same(net, reference, 1)


def test_convolutions_and_halves(runtime, tmp_path):
    conv = nn.Conv2d(8, 6, 3, padding=1).to(torch.bfloat16).eval()
    streamed.save_file(conv.state_dict(), tmp_path / "conv.safetensors")
    up, down = torch.randn(6, RANK, 1, 1), torch.randn(RANK, 8, 3, 3)
    streamed.save_file({"it.lora_up.weight": up, "it.lora_down.weight": down}, tmp_path / "lora.safetensors")
    x = torch.randn(1, 8, 5, 5, dtype=torch.bfloat16)
    patched = copy.deepcopy(conv)
    delta = 0.3 * (up.flatten(1) @ down.flatten(1)).view(conv.weight.shape)
    patched.weight.data = (conv.weight.float() + delta).to(torch.bfloat16)
    wanted = conv(x), patched(x)
    with stream(conv, tmp_path / "conv.safetensors", runtime=runtime) as it:
        lora = it.add_lora(tmp_path / "lora.safetensors", 0.3, names=lambda _: "")
        assert torch.equal(conv(x), wanted[1]) and not torch.equal(*wanted)
        lora.strength = 0
        assert torch.equal(conv(x), wanted[0])


def test_what_is_no_lora_of_the_module(whole, path, runtime, tmp_path):
    net = streamed.same_but_empty(whole)
    file = tmp_path / "lora.safetensors"
    up, down = torch.ones(256, RANK), torch.ones(RANK, 64)
    with stream(net, path, layer_bytes=LAYER_BYTES, runtime=runtime) as it:
        for stem, extra, error, word in (
            ("blocks.1.upp", {}, ValueError, "'blocks.1.upp', of which the module streams no weight; the nearest is 'blocks.1.up'"),
            ("blocks.1.down", {}, ValueError, r"\(256, 4\) and \(4, 64\) does not patch 'blocks.1.down.weight'"),
            ("blocks.1.up", {"blocks.1.up.dora_scale": down + 1}, NotImplementedError, "there is also 'blocks.1.up.dora_scale'"),
        ):
            streamed.save_file({f"{stem}.lora_B.weight": up, f"{stem}.lora_A.weight": down, **extra}, file)
            with pytest.raises(error, match=word):
                it.add_lora(file)
        assert not it.loras
        expect_same(net, whole, 1)
