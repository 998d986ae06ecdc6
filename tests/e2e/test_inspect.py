"""`longshore inspect` says what is in a file without reading its data."""
import time

import checkpoints
import pytest
from cli import run_well

LARGE_FILE_SECONDS_MAX = 1.0  # starting the program included, on a busy machine


def inspect(path):
    return run_well("inspect", path, "--json").json


def shown(report):
    return {t["name"]: (t["dtype"], t["shape"], t["bytes"]) for t in report["tensors"]}


def written(path):
    header, _ = checkpoints.read_header(path)
    return {
        name: (facts["dtype"], facts["shape"], facts["data_offsets"][1] - facts["data_offsets"][0])
        for name, facts in header.items()
    }


@pytest.mark.parametrize("name", ("sd15-tiny", "tiny-20000", "all-dtypes", "odd-shapes"))
def test_every_tensor_is_listed(models, name):
    path, _ = models(name)
    assert shown(inspect(path)) == written(path)


def test_an_index_lists_all_its_shards(models):
    index, _ = models("sharded")
    shards = index.parent.glob("*.safetensors")
    assert shown(inspect(index)) == {name: facts for shard in shards for name, facts in written(shard).items()}


def test_people_get_names_and_types_too(models):
    path, _ = models("all-dtypes")
    text = run_well("inspect", path, "--all").out
    assert all(name in text for name in written(path))


def test_a_64_gb_file_is_quick(data):
    path = checkpoints.write(data / "giant.safetensors", {f"w{i}": ("F32", [1 << 30]) for i in range(16)}, sparse=True)
    before = time.monotonic()
    report = inspect(path)
    assert time.monotonic() - before < LARGE_FILE_SECONDS_MAX
    assert sum(t["bytes"] for t in report["tensors"]) == 64 << 30
