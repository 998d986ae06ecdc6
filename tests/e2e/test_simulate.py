"""`longshore simulate`: scenarios by name and by file, as text and as JSON, and what its exit status says."""
import json

import pytest
from cli import run, run_well

MACHINE = {"host_limit": "1 GB", "disk": {"gb_per_s": 1}}


def write_scenario(folder, **fields):
    scenario = {
        "machine": MACHINE,
        "models": [{"name": "m", "tensors": [{"count": 5, "bytes": "100 MB"}]}],
        "steps": [{"load": "m"}],
    }
    path = folder / "scenario.json"
    path.write_text(json.dumps(scenario | fields))
    return path


def test_a_scenario_that_comes_along(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    result = run_well("simulate", "model-larger-than-memory")
    for word in ("flux2 fp8 device", "disk", "link", "at best", "evictions  1", "page-locked"):
        assert word in result.out
    assert list(tmp_path.iterdir()) == [], "files of models are left"


def test_json_has_the_totals(tmp_path):
    report = run_well("simulate", write_scenario(tmp_path), "--json").json
    assert report["read_bytes"] >= 500_000_000 and report["uploaded_bytes"] == 0
    assert report["bound_seconds"] == pytest.approx(0.5)
    assert 1 <= report["bound_ratio"] < 1.01
    assert report["memory"]["host"]["peak_bytes"] <= report["memory"]["host"]["limit_bytes"] == 10**9
    assert [step["hit"] for step in report["steps"]] == [False]


def test_a_refusal_has_its_exit_code(tmp_path):
    result = run("simulate", write_scenario(tmp_path, machine=MACHINE | {"host_limit": "400 MB"}))
    assert result.code == 6
    assert "refused" in result.out and "m.safetensors" in result.out


def test_a_wrong_scenario_names_its_place(tmp_path):
    result = run("simulate", write_scenario(tmp_path, steps=[{"load": "m", "hold": "devcie"}]))
    assert result.code == 2
    assert "/steps/0/hold" in result.err


def test_a_scenario_that_is_not_there():
    assert run("simulate", "no-such-scenario").code == 3


def test_the_example_of_its_help_runs(tmp_path):
    text = run_well("simulate", "--help").out
    path = tmp_path / "example.json"
    path.write_text(text[text.index('{"machine"') : text.index("\n\nA step begins")])
    run_well("simulate", path)
