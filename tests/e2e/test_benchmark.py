"""The benchmark's own tools: what they say of the page cache, of a set of samples, and of a file that is not there."""
import subprocess

import page_cache
import pytest
import report
import run

NO_SUCH_FILE = "/no/such/file"


@pytest.fixture(scope="session")
def tools():
    return run.build_tools(run.ROOT / "build" / "bench")


def sample(contestant, state, seconds, error=None):
    return {
        "contestant": contestant, "state": state, "error": error,
        "seconds": seconds, "cpu_seconds": seconds / 2, "peak_rss_bytes": 5 << 20,
    }  # fmt: skip


def test_a_file_can_be_made_cold_and_hot(own_copy):
    assert page_cache.make_hot(own_copy) > 0.99
    assert page_cache.resident_fraction(own_copy) == 1.0
    assert page_cache.make_cold(own_copy) < 0.01
    assert page_cache.resident_fraction(own_copy) < 0.01


def test_both_ways_to_count_cached_pages_agree(own_copy):
    page_cache.make_hot(own_copy)
    pages = own_copy.stat().st_size // page_cache.PAGE_BYTES + 1
    with own_copy.open("rb") as file:
        assert page_cache.pages_by_mincore(file.fileno(), own_copy.stat().st_size) == pages
    assert page_cache.resident_fraction(own_copy) == 1.0


@pytest.mark.parametrize(
    "engine, memory",
    [("uring", "warm"), ("uring", "ahead"), ("pread", "warm"), ("pread", "huge"), ("pread", "small"), ("copy", "warm")],
)
def test_a_plain_reader_reads_all(tools, models, engine, memory):
    path, _ = models("sd15-tiny")
    found, failure = run.run_child(run.chosen(["pread x 2"])[0], [str(tools.plain_read), engine, memory, str(path)])
    assert failure is None
    assert found["bytes"] == path.stat().st_size
    assert found["peak_rss_bytes"] > path.stat().st_size
    assert 0 < found["seconds"] <= found["wall_seconds"]


@pytest.mark.parametrize("engine", ["uring", "pread"])
def test_a_plain_reader_names_a_missing_file(tools, engine):
    done = subprocess.run([tools.plain_read, engine, "warm", NO_SUCH_FILE], capture_output=True, text=True)
    assert done.returncode == 1
    assert NO_SUCH_FILE in done.stderr


def test_a_summary_is_of_medians_and_leaves_failures_out():
    samples = [sample("fio direct, 1m x 8", "cold", s) for s in (3.0, 1.0, 2.0)]
    samples.append(sample("fio direct, 1m x 8", "cold", 99.0, error="exit 1"))
    cells = report.summary(samples)
    cell = cells["fio direct, 1m x 8", "cold"]
    assert (cell["seconds"], cell["min"], cell["max"], cell["cpu_seconds"], cell["peak_mib"]) == (2.0, 1.0, 3.0, 1.0, 5)
    assert report.best_plain(cells, "cold") == 2.0
    assert report.best_plain(cells, "hot") is None


def test_only_what_is_between_the_markers_of_a_readme_changes(tmp_path):
    begin, end = report.README_MARKERS
    path = tmp_path / "README.md"
    path.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    report.replace_in_readme(path, "new\n")
    assert path.read_text() == f"before\n{begin}\nnew\n{end}\nafter\n"


def test_a_readme_without_markers_is_left_alone(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("no table here\n")
    with pytest.raises(ValueError):
        report.replace_in_readme(path, "new\n")
    assert path.read_text() == "no table here\n"
