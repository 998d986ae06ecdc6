"""How the program speaks: help, exit codes, clean JSON on stdout, and errors that name what is wrong."""
import json
import os

import pytest
from cli import COLOUR, run, run_on_terminal, run_well

COMMANDS = ("preload", "load", "inspect", "verify", "bench", "make-checkpoint")
READERS = ("load", "inspect", "verify")
FIFO_TIMEOUT_SECONDS = 10


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    result = run_well(command, "--help")
    assert command in result.out
    assert "--json" in result.out
    assert result.err == ""


def test_the_program_explains_itself():
    assert all(command in run_well("--help").out for command in COMMANDS)
    bare = run()
    assert all(command in bare.out + bare.err for command in ("preload", "load", "inspect", "verify", "bench"))


def test_it_has_a_version():
    assert run_well("--version").out.strip().split()[-1][0].isdigit()


@pytest.mark.parametrize(
    "arguments",
    [("no-such-command",), ("load",), ("load", "--no-such-option", "x"), ("load", "x", "--engine", "steam"),
     ("load", "x", "--hold", "tight"), ("load", "x", "--page-cache", "no"), ("load", "x", "--repeat", "-1")],
)  # fmt: skip
def test_a_wrong_command_line_is_an_error(arguments):
    result = run(*arguments)
    assert result.code > 0
    assert result.out == ""
    assert result.err != ""


@pytest.mark.parametrize(
    ("option", "words"),
    [("--engine", ("auto", "io_uring", "threads")), ("--hold", ("auto", "owned", "mapped")),
     ("--page-cache", ("auto", "direct", "buffered"))],
)  # fmt: skip
def test_a_wrong_word_is_answered_with_those_that_there_are(option, words):
    err = run("load", "x", option, "steam").err
    assert option in err and "steam" in err
    assert all(word in err for word in words)


def missing(folder, _):
    return folder / "missing.safetensors"


def directory(folder, _):
    path = folder / "folder.safetensors"
    path.mkdir()
    return path


def empty(folder, _):
    path = folder / "empty.safetensors"
    path.touch()
    return path


def truncated(folder, whole):
    path = folder / "truncated.safetensors"
    path.write_bytes(whole.read_bytes()[:-1])
    return path


def too_long(folder, whole):
    path = folder / "long.safetensors"
    path.write_bytes(whole.read_bytes() + b"\0")
    return path


def not_safetensors(folder, _):
    path = folder / "noise.safetensors"
    path.write_bytes(b"\x93NUMPY" * 1000)
    return path


def fifo(folder, _):
    path = folder / "pipe.safetensors"
    os.mkfifo(path)
    return path


BAD_FILES = (missing, directory, empty, truncated, too_long, not_safetensors, fifo)


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("make", BAD_FILES, ids=lambda make: make.__name__)
def test_a_bad_file_is_named(command, make, tmp_path, small):
    path = make(tmp_path, small)
    result = run(command, path, timeout_seconds=FIFO_TIMEOUT_SECONDS)
    assert result.code > 0
    assert path.name in result.err
    assert result.out == "" or command == "verify"  # whose table has a row for each file, broken ones too


@pytest.mark.parametrize("command", READERS)
def test_a_failure_under_json_keeps_stdout_parseable(command, tmp_path):
    result = run(command, tmp_path / "missing.safetensors", "--json")
    assert result.code > 0
    assert "missing.safetensors" in result.err
    assert result.out == "" or isinstance(json.loads(result.out), dict)


@pytest.mark.parametrize("command", READERS)
def test_missing_and_malformed_files_have_exit_codes_of_their_own(command, tmp_path, small):
    assert run(command, missing(tmp_path, small)).code != run(command, truncated(tmp_path, small)).code


def test_one_bad_file_among_good_ones_fails_the_load(tmp_path, small):
    result = run("load", small, missing(tmp_path, small))
    assert result.code > 0
    assert "missing.safetensors" in result.err


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_nothing_is_drawn_where_there_is_no_terminal(command, options, models):
    path, _ = models("sd15-tiny")
    result = run_well(command, path, *options)
    assert result.out != ""
    assert not {"\r", "\x1b"} & set(result.out + result.err)


@pytest.mark.parametrize("command", READERS)
def test_no_color_is_obeyed_on_a_terminal(command, models):
    path, _ = models("sd15-tiny")
    code, text = run_on_terminal(command, path, environment={"NO_COLOR": "1"})
    assert code == 0
    assert not COLOUR.search(text)
