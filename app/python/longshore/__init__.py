"""Longshore: weights of image and video models, read at the disk's speed into a cache with a hard memory limit.

    from longshore.torch import load_file      # in place of safetensors.torch
    weights = load_file("model.safetensors")

    with longshore.Runtime(host_limit="8GiB") as runtime:
        model = runtime.load("model.safetensors.index.json")
        model["layer.weight"]                  # a tensor; all who load this model share its memory

Importing this imports neither numpy nor torch; whoever asks for arrays of one needs it.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _interpreter  # before all others, since it may refuse
from ._cache import Cache, CacheStats, Entry
from ._errors import (
    AbsentWeightError,
    Error,
    FileError,
    ForkError,
    FormatError,
    InvalidArgumentError,
    LoadTimeoutError,
    NotFoundError,
    OutOfBudgetError,
    StoppedError,
    UnsupportedError,
    WrongKindError,
)
from ._model import Model
from ._orders import LoadOptions
from ._runtime import Runtime, default_runtime, set_default_runtime
from ._safe_open import safe_open

if TYPE_CHECKING:
    from ._load import Load as Load
    from ._preload import PreloadOutcome as PreloadOutcome, read_config as read_config
    from ._status import Holder as Holder, LoadUnderWay as LoadUnderWay, Status as Status

__version__ = "0.1.0"
__all__ = [
    "AbsentWeightError",
    "Cache",
    "CacheStats",
    "Entry",
    "Error",
    "FileError",
    "ForkError",
    "FormatError",
    "Holder",
    "InvalidArgumentError",
    "Load",
    "LoadOptions",
    "LoadTimeoutError",
    "LoadUnderWay",
    "Model",
    "NotFoundError",
    "OutOfBudgetError",
    "PreloadOutcome",
    "Runtime",
    "Status",
    "StoppedError",
    "UnsupportedError",
    "WrongKindError",
    "default_runtime",
    "read_config",
    "safe_open",
    "set_default_runtime",
]

# What few need comes when it is asked for, so that importing stays quick.
_LATER = {
    "Load": "_load",
    "PreloadOutcome": "_preload",
    "read_config": "_preload",
    "Holder": "_status",
    "LoadUnderWay": "_status",
    "Status": "_status",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'longshore' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("." + _LATER[name], __name__), name)
