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
        if key in self._cache and not self.is_value(key):
            raise NotData(f"{key!r} is the key of a {self._kind(key)}, not of {_KIND}; choose another key")
        stored = Stored(list(value) if is_list else [value], is_list, tag)
        self._end(key)
        self._cache.put(
            key,
            stored,
            size=bytes_of(stored.values),
            kind=_KIND,
            on_evict=lambda *_: self._chores.do(stored.values.clear),
        )

    def get(self, key: "str | int") -> list[Any]:
        """The values under a key; [None] and a warning where there is none. Raises NotData for a model's key."""
        key = _text(key)
        stored = self._cache.get(key) if key in self._cache else None
        if isinstance(stored, Stored):
            return list(stored.values)
        if stored is not None or key in self._cache:
            raise NotData(f"{key!r} is the key of a {self._kind(key)}, not of {_KIND}; load it with a loader node")
        log.warning("Longshore: nothing is stored under %r", key)
        return [None]

    def remove(self, key: "str | int") -> None:
        """Removes a key, or with '*' all stored values; models stay."""
        if key == CLEAR_ALL:
            for entry in self._cache.entries():
                if entry.kind == _KIND:
                    self._end(entry.key)
        elif not self._end(_text(key)):
            log.warning("Longshore: there is no key %r to remove", key)

    def _end(self, key: str) -> bool:
        """Removes a key; whether there was one."""
        if key not in self._cache:
            return False
        stored = self._cache.get(key)
        self._cache.remove(key)
        if isinstance(stored, Stored):
            self._chores.do(stored.values.clear)
        return True

    def __contains__(self, key: "str | int") -> bool:
        return _text(key) in self._cache

    def weak_hash(self, key: "str | int") -> tuple[str, int]:
        """Changes with each change of what the key stands for, removal included."""
        key = _text(key)
        return key, self._cache.generation(key)

    def is_value(self, key: str) -> bool:
        return isinstance(self._cache.get(key), Stored)

    def tag(self, key: str) -> str:
        stored = self._cache.get(key)
        return stored.tag if isinstance(stored, Stored) else ""

    def _kind(self, key: str) -> str:
        return next((entry.kind for entry in self._cache.entries() if entry.key == key), "model")


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
