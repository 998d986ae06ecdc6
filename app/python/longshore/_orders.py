"""What people may say of a load, in one place for all calls that start one."""
from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any, Mapping, Sequence, TypedDict, Union

from . import _arrays
from ._errors import InvalidArgumentError
from ._progress import Progress, ProgressWish, progress_of

PathLike = Union[str, "os.PathLike[str]"]
Source = Union[None, PathLike, Sequence[PathLike]]

if TYPE_CHECKING:
    import numpy
    import torch

    OneType = Union[str, torch.dtype, numpy.dtype[Any]]
    DType = Union[None, OneType, Mapping[str, OneType]]
    Device = Union[None, str, int, torch.device]


class LoadOptions(TypedDict, total=False):
    """How to load a model; what stands first in brackets is the default.

    kind: ["data"], "ckpt", "unclip_ckpt", "diffusion_model", "text_encoder", "vae" or "lora". A key that stands for
        another kind is refused.
    mode: ["auto"]: what is there if it comes from the same files, else load. "override": read anew. "read_only": what
        is there or on its way, of any kind if no kind is given.
    hold: ["auto"]: mapped if the page cache has it already, owned if not. "owned": in memory of the runtime's own.
        "pinned": the same and page-locked. "mapped": the page cache's memory; what others write to the file shows.
    device: [None] or "cpu", or the runtime's device.
    host_copy: [False] whether what goes to the device also stays in pinned host memory, for the next time.
    dtype: [None] or what float tensors (F32, F16, BF16, F8_E4M3, F8_E5M2) become while they are read, as
        `tensor.to(dtype)` has it: such a type of torch or numpy, or by its name in the format. Or such types by what names of tensors begin with, of which the
        longest decides: {"model.diffusion_model.": "F32", "first_stage_model.": torch.bfloat16}.
    priority: ["now"], or "later" for what nobody waits for yet: its reads let others go first.
    keep: [False] whether the cache must never evict it.
    framework: "torch" or "numpy"; [None]: torch where it is installed.
    writable: [False] whether it is memory that nobody shares, and has no place in the cache. A mapping is then copied
        where it is written to.
    deadline: [600] seconds.
    progress: [None] or a function of bytes done, bytes in all and what the load waits for; True draws a bar with tqdm.
    """

    kind: "str | None"
    mode: str
    hold: str
    device: "Device"
    host_copy: bool
    dtype: "DType"
    priority: str
    keep: bool
    framework: "str | None"
    writable: bool
    deadline: float
    progress: ProgressWish


_DEFAULTS: LoadOptions = {
    "kind": None,
    "mode": "auto",
    "hold": "auto",
    "device": None,
    "host_copy": False,
    "dtype": None,
    "priority": "now",
    "keep": False,
    "framework": None,
    "writable": False,
    "deadline": 600.0,
    "progress": None,
}


class Order:
    """A load as the extension wants it, and what Python makes of it."""

    def __init__(self, source: Source, key: "str | None", how: LoadOptions, device: str) -> None:
        if unknown := how.keys() - _DEFAULTS.keys():
            raise TypeError(f"a load has no option {min(unknown)!r}; its options: {', '.join(_DEFAULTS)}")
        wish: LoadOptions = {**_DEFAULTS, **how}
        self.framework = _framework(wish["framework"])
        self.writable = wish["writable"]
        self._progress, self._name = wish["progress"], key or _name_of(source)
        if wish["priority"] not in ("now", "later"):
            raise InvalidArgumentError(f"priority is 'now' or 'later', not {wish['priority']!r}")
        if self.writable and (key is not None or wish["mode"] != "auto" or wish["keep"]):
            raise InvalidArgumentError("what is writable is nobody else's: it has no key, no mode, and is not kept")
        self.wanted: "dict[str, Any]" = {
            "paths": paths_of(source),
            "key": key or "",
            "kind": wish["kind"] or "",
            "mode": "unshared" if self.writable else wish["mode"],
            "hold": _hold(wish, device),
            "host_copy": wish["host_copy"],
            "dtype": _arrays.cast_rule(wish["dtype"]),
            "urgent": wish["priority"] == "now",
            "keep": wish["keep"],
            "deadline": float(wish["deadline"]),
        }

    def progress(self) -> "Progress | None":
        return progress_of(self._progress, self._name)


def paths_of(source: Source) -> "list[str]":
    if source is None:
        return []
    if isinstance(source, (str, os.PathLike)):
        source = [source]
    return [os.path.abspath(path) for path in source]


def _name_of(source: Source) -> str:
    return ", ".join(os.path.basename(path) for path in paths_of(source))


def _framework(wish: "str | None") -> str:
    if wish is None:
        return "torch" if importlib.util.find_spec("torch") else "numpy"
    if wish not in ("numpy", "torch"):
        raise InvalidArgumentError(f"there is no framework {wish!r}, there are 'numpy' and 'torch'")
    return wish


def place_of(device: Any) -> str:
    """A device by the one name that Longshore has for it: "cuda", "cuda:0", 0 and torch's are the same."""
    if isinstance(device, int):
        return f"cuda:{device}"
    return "cuda:0" if str(device) == "cuda" else str(device)


def _hold(wish: LoadOptions, device: str) -> str:
    wanted = "cpu" if wish["device"] is None else place_of(wish["device"])
    if wanted == "cpu":
        return wish["hold"]
    if wanted != device:
        raise InvalidArgumentError(
            f"this runtime's device is {device or 'none'!r}, not {wanted!r}; name it when the runtime starts"
        )
    if wish["hold"] != "auto":
        raise InvalidArgumentError(f"hold {wish['hold']!r} is for host memory, not for {wanted}")
    return "device"
