"""A file comes whole, and what goes wrong has its name: on every Python."""
import longshore
import longshore.numpy
import numpy
import pytest


@pytest.mark.parametrize("engine", ("auto", "threads"))
def test_a_file(model, values, engine):
    with longshore.Runtime(host_limit=64 << 20, engine=engine) as runtime:
        loaded = runtime.load(model, framework="numpy")
        assert set(loaded) == set(values)
        for name, array in values.items():
            assert loaded[name].dtype == array.dtype and numpy.array_equal(loaded[name], array), name


def test_arrays_outlive_all_else(model, values):
    weight = longshore.numpy.load_file(model)["weight"][2:, ::3]
    assert numpy.array_equal(weight, values["weight"][2:, ::3])


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.safetensors") as caught:
        longshore.numpy.load_file(tmp_path / "none.safetensors")
    assert isinstance(caught.value, longshore.NotFoundError)


def test_a_broken_file(tmp_path):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(longshore.FormatError, match="broken.safetensors"):
        longshore.numpy.load_file(path)
