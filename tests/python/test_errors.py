"""What goes wrong is what people catch already, and says what it was."""
import subprocess
import sys

import longshore
import longshore.torch
import pytest
import safetensors


def test_no_such_file(tmp_path):
    path = tmp_path / "none.safetensors"
    for load in (longshore.torch.load_file, lambda p: longshore.safe_open(p, "np"), longshore.Runtime().load):
        with pytest.raises(FileNotFoundError, match="none.safetensors") as caught:
            load(path)
        assert isinstance(caught.value, longshore.NotFoundError) and isinstance(caught.value, OSError)
        assert (caught.value.code, caught.value.path) == ("not_found", str(path))


@pytest.mark.parametrize("content", (b"", b"short", b"\xff" * 64, b"\x02" + b"\0" * 7 + b"[]"))
def test_no_safetensors_file(tmp_path, content):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    for kind in (ValueError, longshore.FormatError, safetensors.SafetensorError):
        with pytest.raises(kind, match="bad.safetensors"):
            longshore.torch.load_file(path)


def test_larger_than_the_limit(plain):
    with longshore.Runtime(host_limit=4 << 20) as runtime:
        with pytest.raises(MemoryError) as caught:
            runtime.load(plain, hold="owned")
        assert caught.value.code == "out_of_budget"


def test_deadline(huge):
    with longshore.Runtime() as runtime:
        with pytest.raises(TimeoutError) as caught:
            runtime.load(huge, hold="owned", deadline=0.05)
        assert caught.value.code == "timed_out"


@pytest.mark.parametrize("arguments", ({"hold": "tight"}, {"framework": "jax"}))
def test_arguments(plain, arguments):
    with pytest.raises(ValueError, match=next(iter(arguments.values()))):
        longshore.default_runtime().load(plain, **arguments)


def test_engine():
    with pytest.raises(ValueError, match="steam"):
        longshore.Runtime(engine="steam")


def test_a_name_in_two_files(plain, tmp_path):
    other = tmp_path / "other.safetensors"
    other.write_bytes(plain.read_bytes())
    model = longshore.default_runtime().load([plain, other])
    with pytest.raises(ValueError, match="two files of the model have a tensor 'layer.00'; take them from `parts`"):
        model["layer.01"]
    first, second = model.parts
    assert (first.path, second.path) == (str(plain), str(other)) and len(first) == len(second) == 64
    assert all(first[name].numpy().tobytes() == second[name].numpy().tobytes() for name in first)
    assert model.bytes == 2 * sum(tensor.nbytes for tensor in first.values())


def test_closed(plain):
    with longshore.Runtime() as runtime:
        pass
    runtime.close()
    for use in (lambda: runtime.load(plain), lambda: runtime.engine):
        with pytest.raises(longshore.StoppedError, match="closed"):
            use()


def test_framework_of_safe_open(plain):
    with pytest.raises(safetensors.SafetensorError, match="framework foo is invalid"):
        longshore.safe_open(plain, "foo")


def test_import_takes_neither_numpy_nor_torch():
    code = "import sys, longshore; assert not {'numpy', 'torch', 'safetensors'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
