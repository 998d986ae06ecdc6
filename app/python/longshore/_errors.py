"""What goes wrong, as exceptions that also are what people catch already."""
from __future__ import annotations

import functools


class Error(Exception):
    """Of all that goes wrong in Longshore.

    code: its name in the command line's JSON, such as "bad_format"; path: the file, or ""; where: the tensor or the
    JSON pointer, or "".
    """

    code: str = ""
    path: str = ""
    where: str = ""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else self.code


class InvalidArgumentError(Error, ValueError):
    """What was asked for makes no sense."""


class WrongKindError(InvalidArgumentError):
    """The key stands for something of another kind."""


class NotFoundError(Error, FileNotFoundError):
    """There is no such file or key."""


class FormatError(Error, ValueError):
    """A file breaks the rules of its format. Also a safetensors.SafetensorError, where that package is installed."""


class FileError(Error, OSError):
    """The system could not read a file, or the file changed while it was read."""


class OutOfBudgetError(Error, MemoryError):
    """The model does not fit the memory limit."""


class LoadTimeoutError(Error, TimeoutError):
    """The deadline passed."""


class StoppedError(Error, RuntimeError):
    """The runtime was closed, the load was given up, or a bounded queue is full."""


class UnsupportedError(Error, NotImplementedError):
    """This machine or build cannot do it."""


class AbsentWeightError(Error, RuntimeError):
    """A streamed module's weight was used while its layer did not run."""


class ForkError(Error, RuntimeError):
    """The runtime was started before this process was forked."""


_BY_CODE: dict[str, type[Error]] = {
    "bad_argument": InvalidArgumentError,
    "not_found": NotFoundError,
    "bad_config": InvalidArgumentError,
    "wrong_kind": WrongKindError,
    "io_failed": FileError,
    "changed_on_disk": FileError,
    "out_of_budget": OutOfBudgetError,
    "timed_out": LoadTimeoutError,
    "unsupported": UnsupportedError,
    "forked": ForkError,
}


@functools.cache
def format_error() -> type[Error]:
    try:
        from safetensors import SafetensorError
    except ImportError:
        return FormatError
    return type("FormatError", (FormatError, SafetensorError), {"__module__": "longshore", "__doc__": FormatError.__doc__})


def make(code: str, text: str, path: str, where: str, os_error: int) -> Error:
    """The exception for an error of the extension."""
    kind = format_error() if code in ("bad_format", "mismatch") else _BY_CODE.get(code, StoppedError)
    made = kind(text)
    made.code, made.path, made.where = code, path, where
    if isinstance(made, OSError):
        made.errno = os_error or None
        made.filename = path or None
    return made
