"""A runtime: the cache, its memory limit and its threads."""
from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING, Callable, Iterator, Sequence

from . import _core
from ._cache import Cache
from ._events import Events
from ._model import Model
from ._orders import LoadOptions, Order, PathLike, Source, place_of
from ._progress import wait_for
from ._settings import Size, bytes_of, from_environment, seconds_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._load import Load
    from ._preload import Config, PreloadOutcome
    from ._status import Status

_open_runtimes: "weakref.WeakSet[Runtime]" = weakref.WeakSet()
_default_lock = threading.Lock()
_default: "Runtime | None" = None


class Runtime:
    """Loads models into a cache and never holds more memory than its limit. A context manager.

    What is not given comes from the variable LONGSHORE_<NAME>, such as LONGSHORE_HOST_LIMIT=8GiB. Sizes are bytes, or
    text with a unit.

    host_limit: of all models and objects together; 0: a share of what the machine or its cgroup has.
    pin_budget: of it, what may be page-locked; None: half.
    engine: "auto", "io_uring" or "threads".
    device: where `load(device=...)` puts weights: "cuda:0", or "host", a stand-in of ordinary memory; None: nowhere.
    streams, staging: copies to the device go in so many streams, and so many bytes are on their way at most.
    warm: freed memory that is kept for the next load, within the host limit.
    memory_timeout: seconds that a load waits for memory that others have.
    pressure_interval: seconds between two looks at how short of memory the machine is; 0: never.
    trace: a file that gets every message of the actors, for ui.perfetto.dev.
    host_device_capacity: memory of the device "host".

    Any thread may use it. After `os.fork` the child may not: start workers with "spawn" or "forkserver".
    """

    cache: Cache

    def __init__(
        self,
        host_limit: "Size | None" = None,
        pin_budget: "Size | None" = None,
        engine: "str | None" = None,
        device: "str | None" = None,
        *,
        streams: "int | None" = None,
        staging: "Size | None" = None,
        warm: "Size | None" = None,
        memory_timeout: "float | None" = None,
        pressure_interval: "float | None" = None,
        trace: "PathLike | None" = None,
        host_device_capacity: "Size | None" = None,
    ) -> None:
        given = dict(locals())
        del given["self"]
        wanted = from_environment(given)
        self.device: str = place_of(wanted["device"] or "")
        self._core = _core.start(
            {
                "host_limit": bytes_of(wanted, "host_limit", 0),
                "pin_budget": bytes_of(wanted, "pin_budget", None),
                "engine": wanted["engine"] or "auto",
                "device": self.device,
                "streams": int(wanted["streams"] or 1),
                "staging": bytes_of(wanted, "staging", 256 << 20),
                "warm": bytes_of(wanted, "warm", 4 << 30),
                "memory_timeout": seconds_of(wanted, "memory_timeout", 30.0),
                "pressure_interval": seconds_of(wanted, "pressure_interval", 0.1),
                "trace": os.fspath(wanted["trace"] or ""),
                "host_device_capacity": bytes_of(wanted, "host_device_capacity", 8 << 30),
            }
        )
        self._events = Events(self._core.events)
        self.cache = Cache(self._core, self._events)
        self._streams: "weakref.WeakSet[_core.Stream]" = weakref.WeakSet()
        _open_runtimes.add(self)

    def load(self, source: Source, key: "str | None" = None, **how: "Unpack[LoadOptions]") -> Model:
        """A model, read if it is not in the cache yet: a mapping from names to tensors.

        source: a .safetensors file, a .safetensors.index.json, or several files that are one model. None with mode
            "read_only": whatever the key stands for.
        key: under which the cache has it; None: the paths.
        how: see LoadOptions.

        Raises NotFoundError, FormatError, FileError, OutOfBudgetError, LoadTimeoutError, WrongKindError, StoppedError,
        ForkError. Ctrl-C ends the wait within 100 ms and cancels the load.
        """
        order = Order(source, key, how, self.device)
        progress = order.progress()
        pending = self._core.begin({**order.wanted, "tells": False})
        wait_for(pending, progress)
        return Model(pending, order.framework, order.writable)

    def submit(self, source: Source, key: "str | None" = None, **how: "Unpack[LoadOptions]") -> "Load":
        """`load` without waiting: a future of the model, which can be awaited. Dropping it early cancels the load."""
        return self._events.begin(self._core, Order(source, key, how, self.device), detached=False)

    def prefetch(self, source: Source, key: "str | None" = None, **how: "Unpack[LoadOptions]") -> "Load":
        """Brings a model into the cache for later, with priority "later". Goes on when what this gives is dropped."""
        wish: LoadOptions = {"priority": "later", **how}
        return self._events.begin(self._core, Order(source, key, wish, self.device), detached=True)

    def preload(
        self,
        config: "PathLike | Config",
        models: "PathLike | Sequence[PathLike]" = "models",
        progress: "Callable[[PreloadOutcome, int], object] | None" = None,
    ) -> "list[PreloadOutcome]":
        """The models of a preload_config.json into the cache, where they are kept; the outcome of each that is enabled.

        models: folders that have the models as ComfyUI has them: checkpoints, vae, and so on.
        progress: called with each outcome as it comes, and with how many are to come in all.
        Raises InvalidArgumentError for a configuration that is wrong; what is wrong with a model is in its outcome.
        """
        from ._preload import preload

        return preload(self, config, models, progress)

    def status(self) -> "Status":
        """What there is in memory, who holds it, and what each load on its way waits for."""
        from ._status import status_of

        return status_of(self._core)

    @contextlib.contextmanager
    def trace(self, path: PathLike) -> "Iterator[None]":
        """Writes every message of the actors to a file for ui.perfetto.dev, while the block runs."""
        self._core.begin_trace(os.fspath(path))
        try:
            yield
        finally:
            self._core.finish_trace()

    @property
    def engine(self) -> str:
        """The engine that reads: "io_uring" or "threads"."""
        return self._core.engine

    @property
    def host_limit(self) -> int:
        """Bytes that all models and objects together may take."""
        return self._core.host_limit

    def close(self) -> None:
        """Ends it: what loads fails with StoppedError, as do streams. Tensors that are alive stay good. Safe to call
        again."""
        for stream in list(self._streams):
            stream.close()
        self._core.close()
        self._events.join()

    def __enter__(self) -> "Runtime":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def default_runtime() -> Runtime:
    """The runtime behind the module's functions, one a process, started when it is first asked for.

    LONGSHORE_* variables configure it, or `set_default_runtime`.
    """
    global _default
    with _default_lock:
        if _default is None:
            _default = Runtime()
        return _default


def set_default_runtime(runtime: "Runtime | None") -> None:
    """From now on the module's functions use this one. None: the next of them starts a new one."""
    global _default
    with _default_lock:
        _default = runtime


@atexit.register
def _close_all() -> None:
    for runtime in list(_open_runtimes):
        runtime.close()


# A thread of the parent may hold the lock at the fork, and will never let go of it in the child.
def _renew_lock() -> None:
    global _default_lock
    _default_lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
