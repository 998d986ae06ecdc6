"""Loading what preload_config.json names, in the background, one model after the other.

Each is an ordinary load that lets others go first; a workflow that needs a model of them waits for that same load, and
from then on it is in nobody's way. A model that fails is reported, and the next one's turn comes.
"""
from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable

from .preload_config import Item, PreloadConfig
from .store import ModelStore

log = logging.getLogger("longshore")


@dataclass
class Progress:
    """One model's way: waiting, loading, ready or failed."""

    item: Item
    state: str = "waiting"
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    error: str = ""


class _Watch:
    background = True

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def progress(self, done: int, total: int, stage: str = "") -> None:
        self._progress.done, self._progress.total = done, total

    def check(self) -> None:
        pass


class Preloader:
    """to_device, of `start`: takes a model's parts once it is ready, where the configuration asks for that."""

    def __init__(self, store: ModelStore, config: PreloadConfig) -> None:
        self._store, self._config = store, config
        self.models = [Progress(item) for item in config.items]
        self._thread: "threading.Thread | None" = None

    def start(self, to_device: "Callable[[list[Any]], Any] | None" = None) -> None:
        """Returns at once. A second call does nothing."""
        if self.models and self._thread is None:
            use = to_device if self._config.auto_gpu_load else None
            self._thread = threading.Thread(target=self._run, args=(use,), name="longshore-preload", daemon=True)
            self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Whether all is done by then."""
        if self._thread:
            self._thread.join(seconds)
        return not (self._thread and self._thread.is_alive())

    def ready(self, kind: str) -> list[str]:
        """The keys of a kind that are in the cache, those of the configuration first."""
        there = self._store.entries()
        first = [progress.item.key for progress in self.models if progress.item.key in there]
        keys = first + sorted(there.keys() - set(first))
        return [key for key in keys if there[key].kind == kind]

    def _run(self, to_device: "Callable[[list[Any]], Any] | None") -> None:
        for progress in self.models:
            started = time.monotonic()
            progress.state = "loading"
            try:
                loaded = self._store.load(progress.item.recipe, progress.item.key, watch=_Watch(progress))
                parts = list(loaded.parts)
                del loaded  # the parts' last references are the list's
                if to_device:
                    to_device(parts)
            except Exception as error:  # whatever is wrong with one model, the others and the server go on
                progress.state, progress.error = "failed", str(error)
                log.warning("Longshore: %s was not preloaded: %s", progress.item.key, error)
            else:
                progress.state = "ready"
                progress.seconds = time.monotonic() - started
                log.info("Longshore: preloaded %s in %.1f s", progress.item.key, progress.seconds)
