"""A runtime: the cache, its memory limit and its threads."""
from __future__ import annotations

import atexit
import os
import threading
import weakref
from typing import Sequence, Union

from . import _core
from ._model import Model

PathLike = Union[str, "os.PathLike[str]"]

_open_runtimes: "weakref.WeakSet[Runtime]" = weakref.WeakSet()
_default_lock = threading.Lock()
_default: "Runtime | None" = None


class Runtime:
    """Loads models into a cache and never holds more memory than its limit. A context manager.

    host_limit: bytes of all models together; 0: a share of what the machine or its cgroup has.
    pin_budget: bytes of it that may be page-locked; None: half.
    engine: "auto", "io_uring" or "threads".

    Any thread may use it. After `os.fork` the child may not: start workers with "spawn" or "forkserver".
    """

    def __init__(self, host_limit: int = 0, pin_budget: "int | None" = None, engine: str = "auto") -> None:
        self._core = _core.start(host_limit, pin_budget, engine)
        _open_runtimes.add(self)

    def load(
        self,
        source: "PathLike | Sequence[PathLike]",
        key: "str | None" = None,
        hold: str = "auto",
        deadline: float = 600.0,
        framework: str = "numpy",
    ) -> Model:
        """A model, read if it is not in the cache yet: a mapping from names to arrays.

        source: a .safetensors file, a .safetensors.index.json, or several files that are one model.
        key: under which the cache has it; None: the paths.
        hold: "owned" in memory of the runtime's own, "pinned" the same and page-locked, "mapped" from the page cache,
            "auto" mapped if it is there already and owned if not. What others write to a mapped file shows through.
        deadline: seconds.
        framework: "numpy" for read-only arrays, whose memory all who load the same files share. "torch" for tensors;
            since torch knows no read-only tensors, they get memory that nobody shares, so `hold` is "auto" or "owned"
            and there is no `key`.

        Raises NotFoundError, FormatError, FileError, OutOfBudgetError, LoadTimeoutError, StoppedError, ForkError.
        Ctrl-C ends the wait within 100 ms; what is being read then is read to its end or its deadline.
        """
        if framework not in ("numpy", "torch"):
            raise ValueError(f"there is no framework {framework!r}, there are 'numpy' and 'torch'")
        alone = framework == "torch"
        if alone and (key is not None or hold not in ("auto", "owned")):
            raise ValueError("torch's tensors can be written to, so they share no memory: hold 'owned', and no key")
        if isinstance(source, (str, os.PathLike)):
            source = [source]
        paths = [os.path.abspath(path) for path in source]
        return Model(self._core.load(paths, key or "", "owned" if alone else hold, deadline, alone), framework)

    @property
    def engine(self) -> str:
        """The engine that reads: "io_uring" or "threads"."""
        return self._core.engine

    @property
    def host_limit(self) -> int:
        """Bytes that all models together may take."""
        return self._core.host_limit

    def close(self) -> None:
        """Ends it: what loads fails with StoppedError. Arrays that are alive stay good. Safe to call again."""
        self._core.close()

    def __enter__(self) -> "Runtime":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def default_runtime() -> Runtime:
    """The runtime behind `load_file` and `safe_open`, one a process, started when it is first asked for."""
    global _default
    with _default_lock:
        if _default is None:
            _default = Runtime()
        return _default


@atexit.register
def _close_all() -> None:
    for runtime in list(_open_runtimes):
        runtime.close()


# A thread of the parent may hold the lock at the fork, and will never let go of it in the child.
def _renew_lock() -> None:
    global _default_lock
    _default_lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
