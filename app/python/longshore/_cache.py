"""The cache of a runtime: models and objects under keys, within one memory limit."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Iterator, NamedTuple

from . import _core
from ._events import CachedObject, Events
from ._model import Model
from ._orders import LoadOptions, Order
from ._progress import wait_for

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Entry(NamedTuple):
    """What a key stands for. memory_bytes: of the limit; file_bytes: of its files on disk. generation: moves whenever
    the key's meaning does. leases: who uses it. pinned: never evicted. last_use: a counter, larger is later. tier: "host"
    or "device". is_object: was put, and not loaded."""

    key: str
    kind: str
    generation: int
    file_bytes: int
    memory_bytes: int
    leases: int
    pinned: bool
    last_use: int
    tier: str
    is_object: bool


class CacheStats(NamedTuple):
    """Counts since the runtime started, and bytes of the limit that are used. misses: loads that had to begin.
    evictions: entries that memory was taken from."""

    hits: int
    misses: int
    puts: int
    evictions: int
    failures: int
    used: int
    limit: int


class Cache:
    """What a runtime has in memory, by key: models that were loaded, and objects that were put. Any thread."""

    def __init__(self, core: _core.Runtime, events: Events) -> None:
        self._core, self._events = core, events

    def get(self, key: str, **how: "Unpack[LoadOptions]") -> Any:
        """What the key stands for: a Model, or the object that was put. Waits for a load that is on its way.

        Raises NotFoundError with the nearest keys, and WrongKindError where another `kind` was asked for.
        """
        order = Order(None, key, {"mode": "read_only", **how}, "")
        pending = self._core.begin({**order.wanted, "tells": False})
        wait_for(pending, None)
        number = pending.object()
        return Model(pending, order.framework, False) if number is None else self._events.object(number)

    def put(
        self,
        key: str,
        value: Any,
        size: int,
        *,
        kind: str = "data",
        keep: bool = False,
        replace: bool = True,
        on_evict: "Callable[[str, Any], object] | None" = None,
        deadline: float = 600.0,
    ) -> None:
        """Puts any object under a key, in place of what was there, and counts its `size` in bytes under the limit.

        on_evict: called with the key and the value, on a thread of the runtime's, once the cache has let go of it:
            when memory is needed, and when it is replaced, removed, or the runtime closed. Its bytes are then counted
            no longer, so drop whatever else holds them.
        replace: whether a key that stands for another kind may change it.
        Raises OutOfBudgetError with the names of those who have the memory.
        """
        number = self._events.add(CachedObject(key, value, on_evict))
        pending = self._core.begin_put(
            number,
            {
                "key": key,
                "size": size,
                "kind": kind,
                "mode": "override" if replace else "auto",
                "keep": keep,
                "deadline": deadline,
            },
        )
        wait_for(pending, None)
        pending.object()  # raises what went wrong

    def keys(self) -> "list[str]":
        return [entry.key for entry in self.entries()]

    def entries(self) -> "list[Entry]":
        """All of them, by key."""
        return [Entry(**entry) for entry in self._core.entries()["entries"]]

    def __contains__(self, key: object) -> bool:
        return any(entry.key == key for entry in self.entries())

    def __iter__(self) -> "Iterator[str]":
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.entries())

    def generation(self, key: str) -> int:
        """A number that moves each time the key is put, replaced, evicted or removed; also of a key that is absent."""
        return self._core.generation(key)

    def pin(self, key: str) -> None:
        """Never to be evicted. Raises NotFoundError."""
        self._core.keep(key, True)

    def unpin(self, key: str) -> None:
        self._core.keep(key, False)

    def remove(self, key: str) -> None:
        """Pinned or not. Who uses it keeps it. Raises NotFoundError."""
        self._core.remove(key)

    def clear(self) -> None:
        """Removes everything."""
        self._core.clear()

    def stats(self) -> CacheStats:
        every = self._core.entries()
        return CacheStats(**every["counts"], used=every["used"], limit=every["limit"])
