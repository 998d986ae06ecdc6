"""Casts between float types, bit for bit against `torch.Tensor.to` on the CPU: of single elements, and in whole loads.

All 65,536 patterns of F16 and BF16 and all 256 of the F8 types to every other type. Of F32: every 256th pattern from two
starts (33.5 million), and all ties and edges: each value of each narrower type and each midpoint between neighbours,
with one F32 step up and down, both signs, and each exponent with the mantissas at its edges. `--full` takes all 2^32.

Numbers must have equal bits. So must NaN, except where torch's own code for different CPUs disagrees (`UNSETTLED`): there
the bits are those that gpu/float_bits.hpp states, and torch's must be a NaN at all.
"""
import subprocess

import checkpoints
import numpy as np
import page_cache
import pytest
import torch
from cli import ROOT, run, run_well
from peers import raw_bytes
from safetensors.torch import load_file

TYPES = {  # torch's type, the integer of that size, mantissa bits
    "F32": (torch.float32, np.uint32, 23),
    "F16": (torch.float16, np.uint16, 10),
    "BF16": (torch.bfloat16, np.uint16, 7),
    "F8_E4M3": (torch.float8_e4m3fn, np.uint8, 3),
    "F8_E5M2": (torch.float8_e5m2, np.uint8, 2),
}
NARROW = [name for name in TYPES if name != "F32"]
UNSETTLED = {("F32", "BF16"), ("BF16", "F16"), ("F8_E4M3", "F16"), ("F8_E5M2", "F16"), ("F16", "F32")}
INFINITY = {"F32": 0x7F800000, "F16": 0x7C00, "BF16": 0x7F80, "F8_E4M3": 0x7E, "F8_E5M2": 0x7C}  # above it: NaN
BLOCK = 1 << 24


@pytest.fixture(scope="session")
def cast_tool(tmp_path_factory):
    """Built here from the sources that it is: no build folder needs to have it, and none can have an old one."""
    tool = tmp_path_factory.mktemp("cast") / "cast_tool"
    sources = [ROOT / name for name in ("tests/e2e/cast_tool.cpp", "gpu/cast.cpp", "gpu/cast_avx2.cpp")]
    subprocess.run(["g++", "-std=c++20", "-O2", f"-I{ROOT}", *sources, "-o", tool], check=True)

    def cast(patterns, source, target):
        done = subprocess.run([tool, source, target], input=patterns.tobytes(), stdout=subprocess.PIPE, check=True)
        return np.frombuffer(done.stdout, TYPES[target][1])

    return cast


def torch_cast(patterns, source, target):
    tensor = torch.from_numpy(patterns.copy()).view(TYPES[source][0]).to(TYPES[target][0])
    return tensor.view(torch.uint8).numpy().view(TYPES[target][1])


def sign_bit(name):
    return 1 << (TYPES[name][1]().itemsize * 8 - 1)


def is_nan(patterns, name):
    return (patterns & (sign_bit(name) - 1)) > INFINITY[name]


def stated_nan(patterns, source, target):
    """What gpu/float_bits.hpp says of a NaN for the pairs in UNSETTLED."""
    wide = torch_cast(np.array([0x7F], np.uint8), "F8_E4M3", "F32")  # its only NaN; the sign is put on below
    bits = patterns.astype(np.uint32)
    sign = np.where(bits & sign_bit(source), np.uint32(sign_bit(target)), np.uint32(0))
    mantissa = {
        "F32": bits & 0x7FFFFF,
        "F16": (bits & 0x3FF) << 13,
        "BF16": (bits & 0x7F) << 16,
        "F8_E5M2": (bits & 3) << 21 | 0x400000,
        "F8_E4M3": np.broadcast_to(wide & 0x7FFFFF, bits.shape),
    }[source]
    if target == "BF16":
        return np.full(bits.shape, 0x7FC0, np.uint32)
    return sign | (0x7E00 | mantissa >> 13 if target == "F16" else 0x7FC00000 | mantissa)


def expect_equal(ours, patterns, source, target):
    theirs = torch_cast(patterns, source, target)
    assert ours.shape == theirs.shape
    different = ours != theirs
    if (source, target) in UNSETTLED:
        nan = is_nan(patterns, source)
        assert is_nan(theirs[nan], target).all()
        assert (ours[nan] == stated_nan(patterns[nan], source, target)).all()
        different &= ~nan
    where = np.flatnonzero(different)[:8]
    assert where.size == 0, [f"{patterns[i]:#x}: {ours[i]:#x}, torch {theirs[i]:#x}" for i in where]


def f32_edges():
    """All values of the narrower types and what lies halfway between them, with the neighbours of each."""
    grids = []
    for name in NARROW:
        every = np.arange(1 << TYPES[name][1]().itemsize * 8, dtype=np.uint64).astype(TYPES[name][1])
        values = torch_cast(every, name, "F32") & 0x7FFFFFFF
        values = np.unique(values[values < 0x7F800000]).astype(np.uint64)
        halves = (values[:-1].astype(np.uint32).view(np.float32).astype(np.float64)
                  + values[1:].astype(np.uint32).view(np.float32)) / 2
        beyond = values[-1] + (1 << (22 - TYPES[name][2]))  # half a step above the largest
        grids += [values, halves.astype(np.float32).view(np.uint32), np.array([beyond])]
    mantissas = np.array([0, 1, 2, 0x3FFFFF, 0x400000, 0x400001, 0x7FFFFE, 0x7FFFFF], np.uint64)
    grids.append((np.arange(256, dtype=np.uint64)[:, None] << 23 | mantissas).ravel())
    middle = np.unique(np.concatenate([grid.astype(np.int64) for grid in grids]))
    near = np.unique(np.concatenate([middle + step for step in (-1, 0, 1)]))
    near = near[(near >= 0) & (near < 1 << 31)].astype(np.uint32)
    return np.concatenate([near, near | np.uint32(1 << 31)])


@pytest.mark.parametrize("target", TYPES)
@pytest.mark.parametrize("source", NARROW)
def test_every_pattern_of_a_narrow_type(cast_tool, source, target):
    if source == target:
        every = np.arange(256, dtype=np.uint8).astype(TYPES[source][1])
        assert (cast_tool(every, source, target) == every).all()
        return
    unsigned = TYPES[source][1]
    every = np.arange(1 << unsigned().itemsize * 8, dtype=np.uint32).astype(unsigned)
    expect_equal(cast_tool(every, source, target), every, source, target)


@pytest.mark.parametrize("target", NARROW)
def test_ties_and_edges_of_f32(cast_tool, target):
    edges = f32_edges()
    assert edges.size > 1_000_000 / 4
    expect_equal(cast_tool(edges, "F32", target), edges, "F32", target)


@pytest.mark.parametrize("target", NARROW)
def test_a_dense_sample_of_f32(cast_tool, target, request):
    step = 1 if request.config.getoption("full") else 256
    for start in (0,) if step == 1 else (0, 129):
        for begin in range(start, 1 << 32, BLOCK * step):
            patterns = np.arange(begin, min(begin + BLOCK * step, 1 << 32), step, dtype=np.uint64).astype(np.uint32)
            expect_equal(cast_tool(patterns, "F32", target), patterns, "F32", target)


def test_the_comparison_can_fail():
    every = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    cut_off = (torch_cast(every, "F16", "F32") >> 16).astype(np.uint16)  # rounds towards zero
    with pytest.raises(AssertionError):
        expect_equal(cut_off, every, "F16", "BF16")


@pytest.fixture(scope="session")
def checkpoint(data):
    """checkpoint(dtype) -> the layout of sd15-tiny with made-up weights of that type; None: of its own types."""
    made = {}

    def path_of(dtype=None):
        if dtype not in made:
            path = data / f"sd15-tiny-{dtype}.safetensors"
            run_well("make-checkpoint", "sd15-tiny", path, *(("--dtype", dtype) if dtype else ()))
            made[dtype] = path
        return made[dtype]

    return path_of


def digest_of(tensor):
    """Of its bytes, which are there as long as the tensor is."""
    return checkpoints.digest(raw_bytes(tensor))


@pytest.fixture(scope="session")
def torch_digests():
    """torch_digests(path, target): of every tensor, those of the types that are cast cast by torch."""
    known, cast = {}, {facts[0] for facts in TYPES.values()}

    def digests(path, target):
        if (path, target) not in known:
            known[path, target] = {
                name: digest_of(t.to(TYPES[target][0]) if t.dtype in cast else t)
                for name, t in load_file(path).items()
            }
        return known[path, target]

    return digests


def load(path, target, *options):
    return run_well("load", path, "--dtype", target, "--digest", "--json", *options).json


@pytest.mark.parametrize("state", ("hot", "cold"))
@pytest.mark.parametrize("engine", ("auto", "io_uring", "threads"))
@pytest.mark.parametrize("target", TYPES)
def test_loads_into_host_memory_are_what_torch_casts(checkpoint, torch_digests, target, engine, state):
    path = checkpoint()
    expected = torch_digests(path, target)
    page_cache.make_cold(path) if state == "cold" else page_cache.make_hot(path)
    report = load(path, target, "--engine", engine)
    assert report["digests"] == expected
    if target != "F16":  # which the layout has
        assert report["hold"] == "owned"
        assert report["direct_bytes" if state == "cold" else "buffered_bytes"] > 0.9 * path.stat().st_size


@pytest.mark.parametrize("target", TYPES)
@pytest.mark.parametrize("source", TYPES)
def test_every_type_becomes_every_other(checkpoint, torch_digests, source, target):
    path = checkpoint(source)
    assert load(path, target)["digests"] == torch_digests(path, target)


@pytest.mark.parametrize("hold", ("owned", "pinned"))
@pytest.mark.parametrize("way", ("direct", "buffered"))
def test_the_bits_are_the_same_in_every_hold_and_by_every_way(checkpoint, torch_digests, hold, way):
    path = checkpoint()
    assert load(path, "F32", "--hold", hold, "--page-cache", way)["digests"] == torch_digests(path, "F32")


@pytest.mark.parametrize("name, target", (("tiny-20000", "F16"), ("odd-shapes", "BF16")))
def test_small_and_odd_tensors_are_cast(models, torch_digests, name, target):
    path, _ = models(name)
    assert load(path, target)["digests"] == torch_digests(path, target)


def test_a_sharded_model_is_cast_as_one(models, torch_digests):
    index, _ = models("sharded")
    expected = {}
    for shard in index.parent.glob("*.safetensors"):
        expected |= torch_digests(shard, "BF16")
    assert load(index, "BF16")["digests"] == expected


def test_a_cast_that_changes_nothing_leaves_the_file_mapped(checkpoint):
    path = checkpoint("F16")
    path.read_bytes()
    report = load(path, "F16", "--hold", "mapped")
    assert report["hold"] == "mapped" and report["mapped_bytes"] > 0


def test_a_mapping_that_would_have_to_change_is_refused(checkpoint):
    result = run("load", checkpoint(), "--dtype", "F32", "--hold", "mapped")
    assert result.code == 2
    assert "cannot be mapped" in result.err


def test_what_the_cast_needs_is_what_the_limit_counts(checkpoint):
    path = checkpoint()
    limit = path.stat().st_size * 3 // 2
    assert run("load", path, "--host-limit", limit, "--dtype", "F32").code == 6
    assert run("load", path, "--host-limit", limit, "--dtype", "F8_E4M3").code == 0
