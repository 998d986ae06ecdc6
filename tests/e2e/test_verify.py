"""`longshore verify` finds each byte that changed, and says in which tensor."""
import checkpoints
from cli import run, run_well


def flip(path, tensor):
    """Changes one bit in the middle of the tensor's bytes."""
    header, data_begin = checkpoints.read_header(path)
    begin, end = header[tensor]["data_offsets"]
    with path.open("r+b") as file:
        file.seek(data_begin + (begin + end) // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def in_file_order(path):
    header, _ = checkpoints.read_header(path)
    return sorted(header, key=lambda name: header[name]["data_offsets"])


def test_a_sound_file_passes(small):
    run_well("verify", small)


def test_a_sound_file_agrees_with_its_own_digests(small, tmp_path):
    run_well("verify", small, "--write", tmp_path / "digests.json")
    run_well("verify", small, "--against", tmp_path / "digests.json")


def test_the_written_digests_are_those_of_the_bytes(small, models, tmp_path):
    run_well("verify", small, "--write", tmp_path / "digests.json")
    text = (tmp_path / "digests.json").read_text()
    assert all(name in text and digest in text for name, digest in models("small")[1].items())


def test_the_first_changed_tensor_is_named(own_copy, tmp_path):
    run_well("verify", own_copy, "--write", tmp_path / "digests.json")
    names = in_file_order(own_copy)
    flip(own_copy, names[17])
    flip(own_copy, names[5])
    result = run("verify", own_copy, "--against", tmp_path / "digests.json")
    assert result.code > 0
    assert f"{names[5]}" in result.err
    assert names[17] not in result.err.split(names[5])[0]


def test_one_bit_in_the_last_tensor_is_found(own_copy, tmp_path):
    run_well("verify", own_copy, "--write", tmp_path / "digests.json")
    last = in_file_order(own_copy)[-1]
    flip(own_copy, last)
    result = run("verify", own_copy, "--against", tmp_path / "digests.json", "--json")
    assert result.code > 0
    assert last in result.out + result.err


def test_a_sharded_model_is_checked_whole(models, tmp_path):
    index, _ = models("sharded")
    run_well("verify", index, "--write", tmp_path / "digests.json")
    run_well("verify", index, "--against", tmp_path / "digests.json")


def test_digests_of_another_model_do_not_pass(small, models, tmp_path):
    run_well("verify", models("odd-shapes")[0], "--write", tmp_path / "digests.json")
    assert run("verify", small, "--against", tmp_path / "digests.json").code > 0


def test_missing_digests_are_named(small, tmp_path):
    result = run("verify", small, "--against", tmp_path / "absent.json")
    assert result.code > 0
    assert "absent.json" in result.err


def test_digests_that_are_not_json_are_named(small, tmp_path):
    (tmp_path / "torn.json").write_text('{"a": "12')
    result = run("verify", small, "--against", tmp_path / "torn.json")
    assert result.code > 0
    assert "torn.json" in result.err
