"""What people write for a setting, and where else a setting may come from."""
from __future__ import annotations

import os
from typing import Any, Mapping, TypeVar, Union

from ._errors import InvalidArgumentError

Size = Union[int, str]
Default = TypeVar("Default", int, None)

_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", 1):
    _UNITS[_letter] = _UNITS[_letter + "ib"] = 1024**_power
    _UNITS[_letter + "b"] = 1000**_power


def from_environment(given: "Mapping[str, Any]") -> "dict[str, Any]":
    """The settings that were given, and of the others those in LONGSHORE_<NAME>; what is in neither is None."""
    return {
        name: os.environ.get("LONGSHORE_" + name.upper()) or None if value is None else value
        for name, value in given.items()
    }


def bytes_of(wanted: "Mapping[str, Any]", name: str, default: Default) -> "int | Default":
    """512, "512", "64MiB" (1024), "64MB" (1000) or "64M" (1024): bytes."""
    size = wanted[name]
    if size is None:
        return default
    text = str(size).strip().lower()
    unit = text.lstrip("0123456789.")
    try:
        return int(float(text[: len(text) - len(unit)]) * _UNITS[unit.strip()])
    except (ValueError, KeyError):
        raise InvalidArgumentError(
            f"{name}: {size!r} is no size; write bytes, or a number with KiB, MiB or GiB"
        ) from None


def seconds_of(wanted: "Mapping[str, Any]", name: str, default: float) -> float:
    value = wanted[name]
    try:
        return default if value is None else float(value)
    except ValueError:
        raise InvalidArgumentError(f"{name}: {value!r} is no number of seconds") from None
