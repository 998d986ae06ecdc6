"""Longshore: weights of image and video models, read at the disk's speed into a cache with a hard memory limit.

    from longshore.torch import load_file      # in place of safetensors.torch
    weights = load_file("model.safetensors")

    with longshore.Runtime(host_limit=8 << 30) as runtime:
        model = runtime.load("model.safetensors.index.json")
        model["layer.weight"]                  # a numpy array that is read-only: all who load this model share it

Importing this imports neither numpy nor torch; whoever asks for arrays of one needs it.
"""
from ._errors import (
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
)
from ._model import Model
from ._runtime import Runtime, default_runtime
from ._safe_open import safe_open

__version__ = "0.1.0"
__all__ = [
    "Error",
    "FileError",
    "ForkError",
    "FormatError",
    "InvalidArgumentError",
    "LoadTimeoutError",
    "Model",
    "NotFoundError",
    "OutOfBudgetError",
    "Runtime",
    "StoppedError",
    "UnsupportedError",
    "default_runtime",
    "safe_open",
]
