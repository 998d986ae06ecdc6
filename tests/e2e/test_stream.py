"""`longshore bench stream`: passes through a model that the device has room for a part of."""
import pytest
from cli import run, run_well


@pytest.mark.parametrize("origin", ("pinned", "owned", "mapped", "disk"))
def test_a_step_moves_what_the_device_has_no_room_for(models, origin):
    path, _ = models("sd15-tiny")
    done = run_well("bench", "stream", path, "--from", origin, "--budget", "60,100", "--link", "4", "--compute", "8",
                    "--passes", "2", "--json")  # fmt: skip
    part, whole = done.json["steps"]
    for step in (part, whole):
        assert step["device_peak_bytes"] <= step["budget_bytes"]
        assert len(step["passes"]) == 2
        assert all(one["seconds"] > 0 and one["bound_seconds"] > 0 for one in step["passes"])
    assert all(0 < one["moved_bytes"] <= part["model_bytes"] * 1.1 for one in part["passes"])
    assert all(one["moved_bytes"] == 0 for one in whole["passes"])


def test_a_layer_larger_than_the_device_is_named(models):
    path, _ = models("sd15-tiny")
    done = run("bench", "stream", path, "--budget", "1", "--passes", "1")
    assert done.code == 6
    assert "layer" in done.err
