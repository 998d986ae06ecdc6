"""`longshore load --device host`: the bytes on the device are those of the file, in whatever memory they travel."""
import json
import struct

import checkpoints
import pytest
import torch
from cli import run, run_well
from preload_models import config, four_kinds, write_folders

MEBIBYTE = 1 << 20


def load(path, *arguments):
    return run_well("load", path, "--device", "host", "--json", *arguments).json


@pytest.mark.parametrize("page_cache", ("direct", "buffered"))
def test_digests_on_the_device_are_those_of_the_file(models, model_name, page_cache):
    path, expected = models(model_name)
    report = load(path, "--digest", "--page-cache", page_cache)
    assert report["digests"] == expected
    assert report["hold"] == "device" and report["device"] == "host"
    assert report["staging_peak_bytes"] <= 256 * MEBIBYTE


@pytest.mark.parametrize("options", (("--pin-budget", "0"), ("--staging", "16MiB"), ("--link", "2")))
def test_it_does_with_less(models, options):
    path, expected = models("sd15-tiny")
    report = load(path, "--digest", *options)
    assert report["digests"] == expected
    if options[0] == "--pin-budget":
        assert report["pinned_peak_bytes"] == 0
    if options[0] == "--staging":
        assert report["staging_peak_bytes"] <= 16 * MEBIBYTE


def test_a_model_that_does_not_fit_says_by_how_much(small):
    result = run("load", small, "--device", "host", "--device-capacity", "1MiB")
    assert result.code == 6
    assert "of device memory" in result.err and "more than" in result.err


def test_staging_too_small_for_a_slot_is_an_error(small):
    result = run("load", small, "--device", "host", "--staging", "1MiB")
    assert result.code == 2
    assert "staging" in result.err


TORCH_TYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}


@pytest.fixture(scope="module")
def float_tensors():
    """Finite floats of three types; the byte in front of them puts elements across the ends of chunks."""
    random = torch.Generator().manual_seed(7)
    return {
        "a.bytes": torch.zeros(3, dtype=torch.uint8),
        "b.wide": torch.randn(5_000_001, generator=random),
        "c.half": torch.randn(2_000_003, generator=random).to(torch.float16),
        "d.brain": torch.randn(7, 9, generator=random).to(torch.bfloat16),
        "e.empty": torch.zeros(0),
    }


@pytest.fixture(scope="module")
def float_file(float_tensors, tmp_path_factory):
    header, data = {}, b""
    names = {torch.uint8: "U8", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
    for name, tensor in float_tensors.items():
        begin = len(data)
        data += bytes_of(tensor)
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    path = tmp_path_factory.mktemp("floats") / "floats.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def bytes_of(tensor):
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


@pytest.mark.parametrize("to", TORCH_TYPES)
@pytest.mark.parametrize("options", ((), ("--host-copy",), ("--page-cache", "direct"), ("--pin-budget", "0", "--host-copy")))
def test_weights_cast_on_their_way_are_those_that_torch_casts(float_tensors, float_file, to, options):
    report = load(float_file, "--digest", "--dtype", to, *options)
    for name, tensor in float_tensors.items():
        cast = tensor.to(getattr(torch, TORCH_TYPES[to])) if tensor.is_floating_point() else tensor
        assert report["digests"][name] == checkpoints.digest(bytes_of(cast)), name


def test_what_is_for_a_device_needs_one(float_file):
    result = run("load", float_file, "--host-copy")
    assert result.code == 2
    assert "device" in result.err


def test_a_host_copy_is_read_once_and_pinned(models):
    path, expected = models("sd15-tiny")
    report = load(path, "--digest", "--host-copy")
    assert report["digests"] == expected
    assert report["host_copy_bytes"] == report["uploaded_bytes"] > 0
    assert report["direct_bytes"] + report["buffered_bytes"] == 0, "the copy's holder reads"
    assert report["staging_peak_bytes"] == 0
    assert report["pinned_peak_bytes"] >= report["bytes"]


def test_20000_tiny_tensors_take_few_copies(tmp_path):
    path = tmp_path / "tiny.safetensors"
    checkpoints.write(path, checkpoints.tiny_tensors())
    assert load(path)["copies"] <= 200


@pytest.mark.parametrize("auto", (True, False))
def test_preload_obeys_auto_gpu_load(tmp_path, auto):
    models = four_kinds()
    models["diffusion_models"][0]["weight_dtype"] = "fp8_e4m3fn"
    file = config(tmp_path, {"auto_gpu_load": auto}, **models)
    report = run_well("preload", file, "--models", write_folders(tmp_path), "--device", "host", "--json").json
    assert {model["kind"] for model in report["models"]} == {"ckpt", "text_encoder", "diffusion_model", "vae"}
    for model in report["models"]:
        assert model["digest_ok"] is True
        assert model["where"] == ("device" if auto else "host")


def test_what_does_not_fit_the_device_is_preloaded_to_host_memory(tmp_path):
    file = config(tmp_path, {"auto_gpu_load": True}, **four_kinds())
    result = run_well("preload", file, "--models", write_folders(tmp_path), "--device", "host", "--device-capacity",
                      "9MiB", "--json")  # fmt: skip
    assert {model["where"] for model in result.json["models"]} == {"device", "host"}
    assert all(model["digest_ok"] for model in result.json["models"])
    assert "stays in host memory" in result.err and "more than" in result.err


def test_a_gpu_without_its_library_is_an_error_that_says_where_it_was_looked_for(small, monkeypatch):
    monkeypatch.setenv("LONGSHORE_CUDA_LIBRARY", "/nowhere/liblongshore_cuda.so")
    result = run("load", small, "--device", "cuda")
    assert result.code == 5
    assert "no CUDA library for Longshore" in result.err and "/nowhere/liblongshore_cuda.so" in result.err


def test_a_gpu_that_is_not_there_is_an_error(small):
    result = run("load", small, "--device", "cuda:999")
    assert result.code == 5
    assert any(why in result.err for why in ("no cuda:999", "no NVIDIA driver", "no CUDA library")), result.err


@pytest.mark.parametrize("options", (("cuda:x",), ("cuda:",), ("gpu",), ("cuda", "--link", "2")))
def test_a_device_that_makes_no_sense_is_refused(small, options):
    assert run("load", small, "--device", *options).code == 2


def test_the_trace_has_copies_slots_and_the_budget(models, tmp_path):
    path, _ = models("sd15-tiny")
    trace = tmp_path / "trace"
    load(path, "--trace", str(trace))
    written = trace.read_bytes()
    for name in (b"copy to the device", b"borrow_slot", b"slot_returned", b"pin_request", b"pin_answer", b"pinned bytes",
                 b"budgeted host bytes", b"staging bytes"):  # fmt: skip
        assert name in written, name
