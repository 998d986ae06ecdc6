"""Ctrl-C in the middle of work stops it soon, cleanly, and with the exit code that shells expect."""
import json

import pytest
from cli import INTERRUPTED, interrupt_during
from preload_models import config

STOP_SECONDS_MAX = 2.0


def check_stopped(result, seconds):
    assert result.code == INTERRUPTED, result
    assert seconds < STOP_SECONDS_MAX
    assert result.out == "" or isinstance(json.loads(result.out), dict)
    assert "terminate called" not in result.err


@pytest.mark.parametrize("engine", ("io_uring", "threads"))
@pytest.mark.parametrize("page_cache", ("direct", "buffered"))
def test_a_load_stops(huge, engine, page_cache):
    options = ("--hold", "owned", "--engine", engine, "--page-cache", page_cache, "--json")
    check_stopped(*interrupt_during(huge, "load", huge, *options))


def test_a_verification_stops(huge):
    check_stopped(*interrupt_during(huge, "verify", huge, "--json"))


def test_a_preload_stops(huge, tmp_path):
    folder = tmp_path / "models" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "huge.safetensors").symlink_to(huge)
    path = config(tmp_path, checkpoints=[{"name": "huge.safetensors"}])
    check_stopped(*interrupt_during(huge, "preload", path, "--models", tmp_path / "models", "--json"))
