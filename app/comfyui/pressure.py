"""Giving memory back when the machine runs short of it, whoever needs it.

The runtime watches the machine and frees what nobody leases. What the pack leases only to have it at hand is let go of
here, as soon as the runtime has asked for memory.
"""
from __future__ import annotations

import threading
from typing import Any, Callable

_SECONDS = 1.0


class PressureWatch:
    """status: the runtime's. relieve: called on a thread of its own, once for each time that memory was asked for."""

    def __init__(self, status: Callable[[], Any], relieve: Callable[[], Any]) -> None:
        self._status, self._relieve = status, relieve
        self._seen = self._times()

    def start(self) -> None:
        threading.Thread(target=self._run, name="longshore-pressure", daemon=True).start()

    def look(self) -> bool:
        """Relieves if memory has been asked for since the last look; whether it has."""
        times = self._times()
        asked, self._seen = times != self._seen, times
        if asked:
            self._relieve()
        return asked

    def _times(self) -> int:
        return self._status().pressure["host_asked"]["times"]

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(_SECONDS):
            self.look()
