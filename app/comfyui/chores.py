"""Work for the thread that runs workflows, done between two of them.

ComfyUI's bookkeeping of loaded models belongs to that thread alone, and is touched when a model's last reference goes
away. So whoever else lets go of a model, or moves one to a device, leaves it to that thread.

The thread asks the queue for the next workflow in a loop; from now on it does its chores first, and a new chore wakes
it. A chore is done before any workflow that is queued after it. Limits: chores are done in order; none waits longer
than the workflow that runs.
"""
from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Any, Callable

log = logging.getLogger("longshore")


class Chores:
    """queue: ComfyUI's queue of prompts, before its thread has started. rest: called each time before it waits."""

    def __init__(self, queue: Any, rest: Callable[[], None]) -> None:
        self._queue, self._get, self._rest = queue, queue.get, rest
        self._waiting: "deque[tuple[Callable[[], None], threading.Event]]" = deque()
        self._worker: "int | None" = None
        queue.get = self._chores_then_get

    def do(self, chore: Callable[[], None]) -> threading.Event:
        """Does a chore now if this is the thread for it, else leaves it there. The event says that it is done."""
        done = threading.Event()
        if threading.get_ident() == self._worker:
            self._run(chore, done)
            return done
        self._waiting.append((chore, done))
        with self._queue.mutex:
            self._queue.not_empty.notify()
        return done

    def _chores_then_get(self, timeout: "float | None" = None) -> Any:
        self._worker = threading.get_ident()
        self._do_all()
        self._rest()
        item = self._get(timeout)
        self._do_all()  # what came while it waited may have come before the workflow
        return item

    def _do_all(self) -> None:
        while self._waiting:
            self._run(*self._waiting.popleft())

    @staticmethod
    def _run(chore: Callable[[], None], done: threading.Event) -> None:
        try:
            chore()
        except Exception:  # the thread that runs workflows outlives whatever is wrong with a chore
            log.exception("Longshore: a chore failed")
        finally:
            done.set()
