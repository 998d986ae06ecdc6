"""`longshore load` gives the bytes that are in the file, whichever way they travel."""
import itertools

import checkpoints
import pytest
from cli import run_well
from peers import raw_bytes
from safetensors import safe_open

ENGINES = ("auto", "io_uring", "threads")
HOLDS = ("auto", "owned", "mapped")
PAGE_CACHES = ("auto", "direct", "buffered")
COMBINATIONS = list(itertools.product(ENGINES, HOLDS, PAGE_CACHES))
REPORT_FIELDS = {
    "seconds": float, "bytes": int, "tensors": int, "gb_per_s": float, "engine": str, "hold": str,
    "direct_bytes": int, "buffered_bytes": int, "cpu_seconds": float, "peak_rss_bytes": int,
}  # fmt: skip
NOT_IN_TORCH = {"of.F6_E2M3", "of.F6_E3M2"}


def load(*arguments):
    return run_well("load", *arguments, "--json").json


@pytest.mark.parametrize("engine, hold, page_cache", COMBINATIONS)
def test_digests_are_those_of_the_file(models, model_name, engine, hold, page_cache):
    path, expected = models(model_name)
    report = load(path, "--digest", "--engine", engine, "--hold", hold, "--page-cache", page_cache)
    assert report["digests"] == expected
    assert report["tensors"] == len(expected)


@pytest.mark.parametrize("name", ("sd15-tiny", "all-dtypes", "odd-shapes"))
def test_the_reference_digests_are_what_safetensors_reads(models, name):
    path, expected = models(name)
    with safe_open(path, framework="pt") as file:
        found = {name: checkpoints.digest(raw_bytes(file.get_tensor(name))) for name in set(file.keys()) - NOT_IN_TORCH}
    assert found == {name: digest for name, digest in expected.items() if name not in NOT_IN_TORCH}


def test_the_report_has_every_field(models):
    path, expected = models("sd15-tiny")
    report = load(path)
    assert {name: type(report[name]) for name in REPORT_FIELDS} == REPORT_FIELDS
    assert "digests" not in report
    assert report["tensors"] == len(expected)
    header, data_begin = checkpoints.read_header(path)
    assert path.stat().st_size - data_begin <= report["bytes"] <= path.stat().st_size
    assert report["gb_per_s"] == pytest.approx(report["bytes"] / report["seconds"] / 1e9, rel=0.02)
    assert report["peak_rss_bytes"] > 1 << 20


@pytest.mark.parametrize("engine", ("io_uring", "threads"))
def test_what_was_asked_for_is_what_is_done(models, engine):
    path, _ = models("sd15-tiny")
    direct = load(path, "--engine", engine, "--hold", "owned", "--page-cache", "direct")
    buffered = load(path, "--engine", engine, "--hold", "owned", "--page-cache", "buffered")
    assert (direct["engine"], buffered["engine"]) == (engine, engine)
    assert (direct["hold"], buffered["hold"]) == ("owned", "owned")
    assert direct["direct_bytes"] > 0.99 * direct["bytes"]
    assert buffered["direct_bytes"] == 0
    assert buffered["buffered_bytes"] >= 0.99 * buffered["bytes"]


def test_a_touched_mapping_is_in_memory(models):
    path, _ = models("sd15-tiny")
    report = load(path, "--hold", "mapped", "--touch")
    assert report["hold"] == "mapped"
    assert report["direct_bytes"] == 0
    assert report["peak_rss_bytes"] > 0.9 * report["bytes"]


def test_touching_changes_no_result(models):
    path, expected = models("sd15-tiny")
    for hold in ("owned", "mapped"):
        assert load(path, "--hold", hold, "--touch", "--digest")["digests"] == expected


def test_several_files_are_one_load(models):
    index, expected = models("sharded")
    report = load(*sorted(index.parent.glob("*.safetensors")), "--digest")
    assert report["digests"] == expected
    assert report["tensors"] == len(expected)


def test_repeating_gives_the_same(models):
    path, expected = models("odd-shapes")
    assert load(path, "--repeat", "3", "--digest")["digests"] == expected


def test_an_owned_load_of_a_small_file_uses_little_memory_beside_it(models):
    path, _ = models("sd15-tiny")
    report = load(path, "--hold", "owned")
    assert report["bytes"] < report["peak_rss_bytes"] < report["bytes"] + (256 << 20)
