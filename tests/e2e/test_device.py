"""`longshore load --device host`: the bytes on the device are those of the file, in whatever memory they travel."""
import pytest
from cli import run, run_well

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
