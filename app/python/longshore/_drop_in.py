"""What `load_file` of both frameworks has in common, and safetensors' names for it."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._errors import InvalidArgumentError
from ._orders import place_of
from ._runtime import default_runtime

if TYPE_CHECKING:
    from ._orders import DType, LoadOptions, PathLike

HOLD_OF_BACKEND = {"auto": "auto", "mmap": "mapped", "pread": "owned"}


def hold_of(backend: str) -> str:
    if backend not in HOLD_OF_BACKEND:
        raise InvalidArgumentError(f"there is no backend {backend!r}, there are {', '.join(HOLD_OF_BACKEND)}")
    return HOLD_OF_BACKEND[backend]


def load_file(filename: PathLike, framework: str, device: Any, backend: str, dtype: DType) -> "dict[str, Any]":
    runtime = default_runtime()
    place = place_of(device)
    how: LoadOptions = {"framework": framework, "writable": True, "dtype": dtype}
    on_device = place == runtime.device
    if on_device:
        how["device"] = place
    else:
        how["hold"] = hold_of(backend)
    tensors = runtime.load(filename, **how).tensors()
    if on_device or place == "cpu":
        return tensors
    return {name: tensor.to(device) for name, tensor in tensors.items()}
