"""The models that are ready to use: who asks for one gets clones that share its weights.

Three layers. The runtime has the files' bytes under the user's keys, inside its budget. A *built* model is ComfyUI's
objects over those bytes; it is shared by all keys and nodes that name equal recipes of equal files. A *clone* is what
a node hands out: patches of its own, the same weights. A built model keeps a lease for each of its keys, so it goes
when no key stands for it any more, when the user frees memory, or when nobody has a clone of it and a load needs the
room.

Any thread may call. Errors of the runtime pass through; nothing half-loaded is ever kept.
"""
from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Protocol

from .recipe import Mode, Recipe

log = logging.getLogger("longshore")

Stamp = tuple  # what identifies the files: a tuple of each one's path, device, inode, size and mtime
_WAIT_SECONDS = 0.05  # between two looks at the interrupt button
_RUNTIME_MODES = {Mode.AUTO: "auto", Mode.OVERRIDE: "override", Mode.READ_ONLY: "read_only"}


class Watch(Protocol):
    """Who waits for a load: told of its progress, and asked now and then whether to go on."""

    background: bool  # loads after all others, and goes on when its caller is interrupted

    def progress(self, done: int, total: int, stage: str = "") -> None: ...

    def check(self) -> None:
        """Raises to give the load up."""


class Quiet:
    """Waits for a load and tells nobody."""

    background = False

    def progress(self, done: int, total: int, stage: str = "") -> None:
        pass

    def check(self) -> None:
        pass


@dataclass
class Loaded:
    """What a node gets. parts: model, clip, vae and clip vision of a checkpoint, or the one part of another kind."""

    parts: tuple[Any, ...]
    key: str
    from_cache: bool
    how: str = "longshore"  # or "stock": ComfyUI's own loader


@dataclass
class _Known:
    """What a key stood for when it was last loaded."""

    recipe: Recipe
    stamp: Stamp
    generation: int


@dataclass
class _Shelf:
    built: dict[tuple[Recipe, Stamp], Any] = field(default_factory=dict)
    keys: dict[str, _Known] = field(default_factory=dict)
    uses: int = 0


class ModelStore:
    """runtime: longshore's. builder: see builder.py. paths: gives the paths of a recipe's files, or None where it is
    not of plain safetensors files; raises where a file is missing. chores: see chores.py."""

    def __init__(
        self, runtime: Any, builder: Any, paths: Callable[[Recipe], "list[str] | None"], chores: Any
    ) -> None:
        self.runtime, self._builder, self._paths, self._chores = runtime, builder, paths, chores
        self._shelf = _Shelf()
        self._lock = threading.RLock()  # of the shelf; held for moments
        self._building = threading.RLock()  # so that two threads never build the same model

    def load(self, recipe: Recipe, key: str, mode: Mode = Mode.AUTO, watch: Watch = Quiet()) -> Loaded:
        """A model by its key; see the README for the modes. Raises what the runtime raises."""
        recipe = self._as_known(recipe, key)
        if mode is Mode.READ_ONLY:
            return self._read(recipe, key, watch)
        stamp = self.stamp(recipe)
        with self._lock:
            built = self._shelf.built.get((recipe, stamp))
            if built and mode is Mode.AUTO and self._is_current(key, recipe, stamp):
                return self._hand_out(built, key, True)
        paths = self._paths(recipe)
        if paths is None:
            return self._load_stock(recipe, key, stamp, mode)
        dtype = built.dtype if built else self._builder.dtype(recipe, paths)
        model = self._load_bytes(paths, key, recipe.kind, mode, dtype, watch)
        return self._build(model, recipe, stamp, dtype, mode is Mode.OVERRIDE)

    def load_uncached(self, recipe: Recipe) -> Loaded:
        """The model by ComfyUI's own loader, kept nowhere."""
        return Loaded(self._builder.build_stock(recipe).clones(), "", False, "stock")

    def stamp(self, recipe: Recipe) -> Stamp:
        """Changes when one of the files does. Raises where a file is missing."""
        paths = self._paths(recipe)
        return tuple(_stamp(path) for path in paths) if paths else recipe.files

    def kind(self, key: str) -> str | None:
        """What kind a key was loaded as, if it still stands for that."""
        with self._lock:
            known = self._shelf.keys.get(key)
            return known.recipe.kind if known and self._generation(key) == known.generation else None

    def weak_hash(self, recipe: Recipe, key: str, mode: Mode) -> tuple[Any, ...]:
        """Changes when the same request would give another model: with the files, and what Read Only would find with
        the key's generation. (The generation of the others would change by their own load and run the graph twice.)"""
        if mode is Mode.READ_ONLY:
            return key, self._generation(key)
        return key, self.stamp(recipe)

    def release_idle(self) -> None:
        """Lets go of all built models that nobody uses; their bytes stay cached until the room is needed."""
        while self._release_oldest_idle():
            pass

    def clear(self) -> None:
        """Removes all models but the pinned ones. Memory that a workflow still uses is freed when it lets go."""
        pinned = {entry.key for entry in self.runtime.cache.entries() if entry.pinned}
        for key in self.entries().keys() - pinned:
            self.remove(key)

    def remove(self, key: str) -> bool:
        """Removes a key, pinned or not; whether there was one."""
        there = key in self.runtime.cache
        if there:
            self.runtime.cache.remove(key)
        self.sweep()
        return there

    def sweep(self) -> None:
        """Forgets keys that stand for something else by now, and built models that no key stands for."""
        with self._lock:
            self._sweep()

    def entries(self) -> dict[str, Recipe]:
        """The keys that are ready, with what they stand for."""
        with self._lock:
            self._sweep()
            return {key: known.recipe for key, known in self._shelf.keys.items()}

    # ---- the bytes

    def _load_bytes(self, paths: Any, key: str, kind: str, mode: Mode, dtype: Any, watch: Watch) -> Any:
        start = self.runtime.prefetch if watch.background else self.runtime.submit
        while True:
            load = start(
                paths,
                key,
                kind=kind,
                mode=_RUNTIME_MODES[mode],
                hold=self._builder.hold,
                dtype=dtype,
                framework="torch",
                progress=watch.progress,
            )
            try:
                return self._wait(load, watch)
            except MemoryError:
                if not self._make_room(watch):
                    raise

    def _wait(self, load: Any, watch: Watch) -> Any:
        """The load's result. Whoever waits may give up in between, and that cancels the load. A load that waits for
        memory gets some of ours."""
        finished = threading.Event()
        load.add_done_callback(lambda _: finished.set())
        try:
            while not finished.wait(_WAIT_SECONDS):
                watch.check()
                if load.progress[2] == "memory":
                    self._make_room(watch)
        except BaseException:
            load.cancel()
            raise
        return load.result(0)

    def _read(self, recipe: Recipe, key: str, watch: Watch) -> Loaded:
        with self._lock:
            known = self._shelf.keys.get(key)
            if known and self._generation(key) != known.generation:
                known = None
            built = self._shelf.built.get((known.recipe, known.stamp)) if known else None
            if built and known.recipe.kind == recipe.kind:
                return self._hand_out(built, key, True)
        model = self._load_bytes(None, key, recipe.kind, Mode.READ_ONLY, None, watch)
        recipe, stamp = (known.recipe, known.stamp) if known else (recipe, (key, model.generation))
        return self._build(model, recipe, stamp, None, False)

    def _load_stock(self, recipe: Recipe, key: str, stamp: Stamp, mode: Mode) -> Loaded:
        """What is not a safetensors file: ComfyUI's loader reads it, and the result is cached all the same."""
        built = self._builder.build_stock(recipe)
        log.info("%s: loaded by ComfyUI's own loader, since not all of it is safetensors files", key)
        self.runtime.cache.put(key, built, size=built.bytes, kind=recipe.kind, on_evict=lambda *_: self.sweep())
        with self._lock:
            self._put(recipe, stamp, key, self._generation(key), built)
            return replace(self._hand_out(built, key, False), how="stock")

    # ---- the shelf

    def _build(self, model: Any, recipe: Recipe, stamp: Stamp, dtype: Any, anew: bool) -> Loaded:
        with self._building:
            with self._lock:
                built = None if anew else self._shelf.built.get((recipe, stamp))
            there = built is not None
            if built is None:
                built = self._builder.build(recipe, model)
                built.dtype = dtype
            with self._lock:
                built.leases[model.key] = model
                self._put(recipe, stamp, model.key, model.generation, built)
                return self._hand_out(built, model.key, there)

    def _put(self, recipe: Recipe, stamp: Stamp, key: str, generation: int, built: Any) -> None:
        replaced = self._shelf.built.get((recipe, stamp))
        if replaced is not built:
            self._shelf.built[recipe, stamp] = built
            self._let_go([replaced] if replaced else [])
        self._shelf.keys[key] = _Known(recipe, stamp, generation)
        self._sweep()

    def _hand_out(self, built: Any, key: str, from_cache: bool) -> Loaded:
        self._shelf.uses += 1
        built.last_use = self._shelf.uses
        return Loaded(built.clones(), key, from_cache)

    def _as_known(self, recipe: Recipe, key: str) -> Recipe:
        """A checkpoint's loader takes an unCLIP checkpoint as well: it has all the parts, and one more."""
        if recipe.kind == "ckpt" and self.kind(key) == "unclip_ckpt":
            return replace(recipe, kind="unclip_ckpt")
        return recipe

    def _generation(self, key: str) -> int:
        return self.runtime.cache.generation(key)

    def _is_current(self, key: str, recipe: Recipe, stamp: Stamp) -> bool:
        known = self._shelf.keys.get(key)
        return known is not None and known == _Known(recipe, stamp, self._generation(key))

    def _sweep(self) -> None:
        shelf = self._shelf
        shelf.keys = {key: known for key, known in shelf.keys.items() if self._generation(key) == known.generation}
        wanted = {(known.recipe, known.stamp) for known in shelf.keys.values()}
        self._let_go([shelf.built.pop(name) for name in shelf.built.keys() - wanted])
        for built in shelf.built.values():
            for key in built.leases.keys() - shelf.keys.keys():
                del built.leases[key]

    def _let_go(self, built: list[Any]) -> "threading.Event | None":
        """Empties the list, which must hold the last references, in the thread where models may end."""
        return self._chores.do(built.clear) if built else None

    def _make_room(self, watch: Watch) -> bool:
        """Frees something, the least missed first; whether there was anything."""
        done = None
        if self._builder.release_outputs() or (done := self._release_oldest_idle()):
            while done and not done.wait(_WAIT_SECONDS):
                watch.check()
            return True
        return False

    def _release_oldest_idle(self) -> "threading.Event | None":
        with self._lock:
            idle = [(built.last_use, name) for name, built in self._shelf.built.items() if built.is_idle()]
            if not idle:
                return None
            return self._let_go([self._shelf.built.pop(min(idle, key=lambda pair: pair[0])[1])])


def _stamp(path: str) -> tuple[Any, ...]:
    stat = os.stat(path)
    return path, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns

