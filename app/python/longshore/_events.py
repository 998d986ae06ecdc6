"""The thread on which a runtime calls back: actors leave events, and this carries them out under the interpreter's lock.

So no actor ever waits for Python, and callbacks come one after the other.
"""
from __future__ import annotations

import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Callable

from . import _core

if TYPE_CHECKING:
    from ._load import Load
    from ._orders import Order

_WAIT_S = 1.0  # nothing depends on it: an event ends the wait


class CachedObject:
    """A value that a cache holds, from `put` until its end there."""

    def __init__(self, key: str, value: Any, on_evict: "Callable[[str, Any], object] | None") -> None:
        self.key, self.value, self.on_evict = key, value, on_evict


class Events:
    """Who waits for which event. The thread starts with the first one who does."""

    def __init__(self, source: _core.Events) -> None:
        self._source = source
        self._lock = threading.RLock()  # an event finds its load or object only once it is known here
        self._thread: "threading.Thread | None" = None
        self._loads: "weakref.WeakValueDictionary[int, Load]" = weakref.WeakValueDictionary()
        self._detached: "dict[int, Load]" = {}
        self._objects: "dict[int, CachedObject]" = {}
        self._next_object = 1

    def begin(self, core: _core.Runtime, order: "Order", detached: bool) -> "Load":
        from ._load import Load

        progress = order.progress()
        with self._lock:
            self._start()
            pending = core.begin({**order.wanted, "tells": True})
            load = self._loads[pending.number] = Load(pending, order, progress)
            if detached:
                self._detached[pending.number] = load
        return load

    def add(self, what: CachedObject) -> int:
        with self._lock:
            self._start()
            number = self._next_object
            self._next_object += 1
            self._objects[number] = what
        return number

    def object(self, number: int) -> Any:
        return self._objects[number].value

    def join(self) -> None:
        """Waits until the last event of a closed runtime is carried out."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="longshore-events", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (news := self._source.next(_WAIT_S)) is not None:
            for kind, number in news:
                try:
                    self._carry_out(kind, number)
                except BaseException:  # of a callback: reported as a thread's are, and the next event's turn comes
                    threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))

    def _carry_out(self, kind: str, number: int) -> None:
        if kind == "dropped":
            gone = self._objects.pop(number)
            if gone.on_evict is not None:
                gone.on_evict(gone.key, gone.value)
            return
        with self._lock:
            load = self._loads.get(number)
            if kind == "answered":
                self._detached.pop(number, None)
        if load is not None:
            load._finish() if kind == "answered" else load._report()
