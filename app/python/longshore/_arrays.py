"""Arrays over the bytes of a file, without a copy: an array keeps the file's buffer, and that keeps the lease.

One kind is copied: what lies in host memory at no multiple of its element's size, which the format allows.
"""
from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Mapping
from typing import Any, Callable, Iterator, Tuple

from . import _core
from ._errors import InvalidArgumentError

# name -> (the format's type, shape, begin in bytes, size in bytes)
Facts = Tuple[str, Tuple[int, ...], int, int]
Maker = Callable[[_core.File, int, Facts], Any]  # the int: the address at which the file's bytes begin

_TORCH_NAMES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "U16": "uint16",
    "I32": "int32",
    "U32": "uint32",
    "I64": "int64",
    "U64": "uint64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "F4": "float4_e2m1fn_x2",
}
_NUMPY_NAMES = {
    name: text for name, text in _TORCH_NAMES.items() if name != "BF16" and not name.startswith(("F8", "F4"))
}


_FORMAT_NAMES = {text: name for name, text in _TORCH_NAMES.items()}


def cast_rule(dtype: Any) -> str:
    """The extension's text for what `dtype=` says: a type, or types by what the names of tensors begin with."""
    if dtype is None:
        return ""
    if isinstance(dtype, Mapping):
        if wrong := [prefix for prefix in dtype if "," in prefix]:
            raise InvalidArgumentError(f"the begin of a tensor's name has no comma, as {wrong[0]!r} has")
        return ",".join(f"{prefix}={_format_type(one)}" for prefix, one in dtype.items())
    return _format_type(dtype)


def _format_type(dtype: Any) -> str:
    """The format's name of a type of torch or numpy, or of a name of either."""
    text = dtype if isinstance(dtype, str) else getattr(dtype, "name", str(dtype)).removeprefix("torch.")
    name = text.upper() if text.upper() in _TORCH_NAMES else _FORMAT_NAMES.get(text.removeprefix("torch."))
    if name is None:
        raise InvalidArgumentError(f"there is no type {dtype!r}; write one of torch or numpy, or such as 'F16'")
    return name


@functools.cache
def torch_type(name: str) -> Any:
    import torch

    if not hasattr(torch, _TORCH_NAMES.get(name, "")):
        raise TypeError(f"torch {torch.__version__} has no type for {name}")
    return getattr(torch, _TORCH_NAMES[name])


def torch_shape(name: str, shape: "tuple[int, ...]") -> "tuple[int, ...]":
    return (*shape[:-1], shape[-1] // 2) if name == "F4" else shape  # of which torch counts pairs


@functools.cache
def _torch_maker(device: str) -> Maker:
    import torch

    frombuffer, take, place = torch.frombuffer, None, "cpu"
    if device not in ("cpu", "host"):  # the memory of the device "host" is the CPU's own
        from ._gpu_arrays import taker

        take, place = taker(torch, device), device

    def make(file: _core.File, address: int, facts: Facts) -> Any:
        name, shape, begin, size = facts
        dtype, shape = torch_type(name), torch_shape(name, shape)
        width = dtype.itemsize
        if size == 0:
            return torch.empty(shape, dtype=dtype, device=place)
        if take is not None:
            return take(file, address + begin, size).view(dtype).view(shape)
        if (address + begin) % width:
            return frombuffer(bytearray(memoryview(file)[begin : begin + size]), dtype=dtype).view(shape)
        # A storage of its own, of the tensor's size: what saves or moves it takes no more than its bytes along.
        flat = frombuffer(file, dtype=dtype, count=size // width, offset=begin)
        return flat if len(shape) == 1 else flat.view(shape)

    return make


@functools.cache
def _numpy_maker() -> Maker:
    import numpy

    known = {name: numpy.dtype(text) for name, text in _NUMPY_NAMES.items()}

    def make(file: Any, address: int, facts: Facts) -> Any:  # a File; to numpy's types no buffer before Python 3.12
        name, shape, begin, size = facts
        if name not in known:
            raise TypeError(f"numpy has no type for {name}; Model.bytes_of gives the bytes, longshore.torch tensors")
        if size == 0:
            return numpy.empty(shape, known[name])
        made = numpy.ndarray(shape, known[name], buffer=file, offset=begin)
        return made if made.flags.aligned else made.copy()

    return make


@contextlib.contextmanager
def no_collection() -> "Iterator[None]":
    """For making many objects of which none is garbage: looking for some would take longer than making them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def maker(framework: str, device: str = "cpu") -> Maker:
    """The function that makes an array of a framework for what is on a device; ImportError where it is not installed."""
    return _torch_maker(device) if framework == "torch" else _numpy_maker()
