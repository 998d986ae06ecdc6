"""The models of a preload_config.json, loaded a few at a time."""
from __future__ import annotations

import os
from collections import deque
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Callable, Dict, NamedTuple, Sequence

from . import _core
from ._errors import Error, NotFoundError
from ._orders import LoadOptions, PathLike

if TYPE_CHECKING:
    from ._load import Load
    from ._runtime import Runtime

Config = Dict[str, Any]  # what `read_config` gives

_AT_ONCE = 2  # keeps the disk busy while the other's header is parsed


class PreloadOutcome(NamedTuple):
    """What became of one entry: `error` is None when it is in the cache. bytes: of its tensors. pointer: where in the
    configuration it stands. on_device: where it is."""

    key: str
    kind: str
    error: "Exception | None"
    bytes: int
    on_device: bool
    pointer: str


def read_config(path: PathLike) -> Config:
    """A preload_config.json, checked. Its "entries" are dicts of kind, files, key, enabled, and so on."""
    path = os.fspath(path)
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except FileNotFoundError:
        raise NotFoundError(f"there is no such configuration (file {path})") from None
    return _core.read_config(text, path)


def preload(
    runtime: "Runtime",
    config: "PathLike | Config",
    models: "PathLike | Sequence[PathLike]",
    progress: "Callable[[PreloadOutcome, int], object] | None",
) -> "list[PreloadOutcome]":
    if not isinstance(config, dict):
        config = read_config(config)
    roots = [os.fspath(root) for root in ([models] if isinstance(models, (str, os.PathLike)) else models)]
    entries = [entry for entry in config["entries"] if entry["enabled"]]
    outcomes: "list[PreloadOutcome]" = []
    under_way: "deque[tuple[dict[str, Any], bool, Load | Exception]]" = deque()

    def settle() -> None:
        outcome = _outcome(*under_way.popleft())
        outcomes.append(outcome)
        if progress is not None:
            progress(outcome, len(entries))

    for entry in entries:
        on_device = bool(config["auto_gpu_load"] and runtime.device and entry["device"] != "cpu")
        under_way.append((entry, on_device, _begin(runtime, entry, roots, on_device)))
        if len(under_way) == _AT_ONCE:
            settle()
    while under_way:
        settle()
    return outcomes


def _begin(runtime: "Runtime", entry: "dict[str, Any]", roots: "list[str]", on_device: bool) -> "Load | Exception":
    how: LoadOptions = {"kind": entry["kind"], "keep": True, "priority": "later"}
    if on_device:
        how["device"], how["host_copy"], how["dtype"] = runtime.device, True, entry["wanted_type"] or None
    try:
        paths = [_core.find_model(roots, entry["kind"], name) for name in entry["files"]]
        return runtime.submit(paths, entry["key"], **how)
    except Error as reason:
        return reason


def _outcome(entry: "dict[str, Any]", on_device: bool, load: "Load | Exception") -> PreloadOutcome:
    error: "Exception | None" = None
    size = 0
    if isinstance(load, Exception):
        error = load
    else:
        try:
            size = load.result().bytes
        except (Error, CancelledError) as reason:
            error = reason
    return PreloadOutcome(entry["key"], entry["kind"], error, size, on_device and error is None, entry["pointer"])
