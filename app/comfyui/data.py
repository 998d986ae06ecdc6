"""Values of any kind under keys, for the nodes that store and retrieve them.

They are intermediates of the runtime's: they count under its budget, and the oldest go when room is needed. They share
the keys with the models, so a key stands for one thing only. Any thread may call. A value may be a model, so values
end where models may: see chores.py.
"""
from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from .recipe import number_key

log = logging.getLogger("longshore")
CLEAR_ALL = "*"
_KIND = "data"


class NotData(ValueError):
    """The key stands for a model."""


@dataclass
class Stored:
    values: list[Any]  # as many as were stored as a list, or the one
    is_list: bool
    tag: str


class DataCache:
    def __init__(self, cache: Any, chores: Any) -> None:
        self._cache, self._chores = cache, chores

    def put(self, key: "str | int", value: Any, tag: str = "", is_list: bool = False) -> None:
        """value: with `is_list` a list of values. Raises ValueError for the key '*' and NotData for a model's key."""
        if key == CLEAR_ALL:
            raise ValueError("the key '*' stands for all keys; choose another")
        key = _text(key)
        self._refuse_model(key, "choose another key")
        stored = Stored(list(value) if is_list else [value], is_list, tag)
        size = bytes_of(stored.values)
        self._cache.put(key, stored, size=size, kind=_KIND, on_evict=lambda *_: self._chores.do(stored.values.clear))

    def get(self, key: "str | int") -> list[Any]:
        """The values under a key; [None] and a warning where there is none. Raises NotData for a model's key."""
        key = _text(key)
        self._refuse_model(key, "load it with a loader node")
        if self._entry(key) is None:
            log.warning("Longshore: nothing is stored under %r", key)
            return [None]
        return list(self._cache.get(key).values)

    def remove(self, key: "str | int") -> None:
        """Removes a key, or with '*' all stored values; models stay."""
        if key == CLEAR_ALL:
            for entry in self._cache.entries():
                if entry.kind == _KIND:
                    self._cache.remove(entry.key)
        elif self._entry(_text(key)):
            self._cache.remove(_text(key))
        else:
            log.warning("Longshore: there is no key %r to remove", key)

    def __contains__(self, key: "str | int") -> bool:
        """Whether a key stands for anything, a value or a model."""
        return self._entry(_text(key)) is not None

    def weak_hash(self, key: "str | int") -> tuple[str, int]:
        """Changes with each change of what the key stands for, removal included."""
        key = _text(key)
        return key, self._cache.generation(key)

    def tag(self, entry: Any) -> str:
        """What was said of a value when it was stored."""
        return self._cache.get(entry.key).tag if entry.kind == _KIND else ""

    def _entry(self, key: str) -> Any:
        return next((entry for entry in self._cache.entries() if entry.key == key), None)

    def _refuse_model(self, key: str, advice: str) -> None:
        entry = self._entry(key)
        if entry and entry.kind != _KIND:
            raise NotData(f"{key!r} is the key of a {entry.kind}, not of {_KIND}; {advice}")


def _text(key: "str | int") -> str:
    return key if isinstance(key, str) else number_key(key)


def bytes_of(value: Any, depth: int = 8) -> int:
    """The bytes of the tensors in a value; what holds none counts as little."""
    if depth and isinstance(value, dict):
        return sum(bytes_of(part, depth - 1) for part in value.values())
    if depth and isinstance(value, (list, tuple)):
        return sum(bytes_of(part, depth - 1) for part in value)
    nbytes = getattr(value, "nbytes", 0)
    return nbytes if isinstance(nbytes, int) else 0
