"""A stand-in for longshore.Runtime that keeps its promises with safetensors and a dictionary, and can be made to fail."""
import os
import threading
from types import SimpleNamespace

import longshore


class Model(dict):
    def __init__(self, parts, key, kind, generation, hit):
        super().__init__({name: tensor for part in reversed(parts) for name, tensor in part.items()})
        self.parts, self.metadata = parts, parts[0].metadata
        self.key, self.kind, self.generation, self.hit = key, kind, generation, hit


class Part(dict):
    metadata = {}


class Load:
    def __init__(self, work):
        self._done, self._callbacks, self.cancelled = threading.Event(), [], False
        self.progress = (0, 0, "disk")
        self._outcome = None
        self._lock = threading.Lock()
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def _run(self, work):
        try:
            self._outcome = (work(self), None)
        except Exception as error:
            self._outcome = (None, error)
        with self._lock:
            self._done.set()
        for callback in self._callbacks:
            callback(self)

    def add_done_callback(self, callback):
        with self._lock:
            if not self._done.is_set():
                self._callbacks.append(callback)
                return
        callback(self)

    def cancel(self):
        self.cancelled = True

    def done(self):
        return self._done.is_set()

    def result(self, timeout=None):
        if not self._done.wait(timeout):
            raise TimeoutError
        value, error = self._outcome
        if error:
            raise error
        return value


class Cache:
    def __init__(self):
        self.held = {}  # key -> (kind, stamp, value)
        self.generations = {}
        self.pins = set()

    def generation(self, key):
        return self.generations.get(key, 0)

    def _move(self, key):
        self.generations[key] = self.generation(key) + 1

    def put(self, key, value, size, *, kind="data", on_evict=None):
        if key in self.held:
            self.remove(key)
        self.held[key] = (kind, None, value, size, on_evict)
        self._move(key)

    def get(self, key, default=None):
        return self.held[key][2] if key in self.held else default

    def remove(self, key):
        _, _, value, _, on_evict = self.held.pop(key)
        self._move(key)
        if on_evict:
            on_evict(key, value)

    evict = remove

    def pin(self, key):
        self.pins.add(key)

    def unpin(self, key):
        self.pins.discard(key)

    def __contains__(self, key):
        return key in self.held

    def __len__(self):
        return len(self.held)

    def entries(self):
        return [
            SimpleNamespace(
                key=key, kind=kind, memory_bytes=size, file_bytes=0, tier="host", generation=self.generation(key),
                leases=0, pinned=key in self.pins, last_use=0, is_object=stamp is None,
            )  # fmt: skip
            for key, (kind, stamp, _, size, _) in self.held.items()
        ]


class FakeRuntime:
    """before: called with (paths, key, load) in the loading thread; may wait or raise."""

    def __init__(self, before=None):
        self.cache = Cache()
        self.before = before
        self.reads = []  # the paths of each load that read files
        self.dtypes, self.holds = [], []
        self.files = {}  # what was read, by the files' identity, dtype
        self._lock = threading.Lock()

    def submit(self, source, key=None, *, kind="data", mode="auto", hold="auto", dtype=None, progress=None, **_):
        self.holds.append(hold)
        return Load(lambda load: self._load(load, source, key, kind, mode, dtype, progress))

    prefetch = submit

    def _load(self, load, paths, key, kind, mode, dtype, progress):
        held = self.cache.held.get(key)
        if held and held[0] != kind and mode != "override":
            raise error("wrong_kind", f"{key} is of kind {held[0]}, not {kind}")
        if mode == "read_only":
            if not held:
                near = [known for known in self.cache.held if known.startswith(key[:3])]
                raise error("not_found", f"there is no {key!r}; did you mean {near}?")
            return Model(held[2], key, kind, self.cache.generation(key), True)
        if self.before:
            self.before(paths, key, load)
        if load.cancelled:
            raise longshore.StoppedError("cancelled")
        stamp = (tuple(map(identity, paths)), repr(dtype))
        if held and held[1] == stamp and mode == "auto":
            return Model(held[2], key, kind, self.cache.generation(key), True)
        with self._lock:
            parts = self.files.get(stamp) if mode == "auto" else None
            hit = parts is not None
            if not hit:
                parts = [read(path, dtype) for path in paths]
                self.reads.append(tuple(paths))
                self.dtypes.append(dtype)
                self.files[stamp] = parts
        size = sum(os.stat(path).st_size for path in paths)
        if progress:
            progress(size, size, "read")
        self.cache.held[key] = (kind, stamp, parts, size, None)
        self.cache._move(key)
        return Model(parts, key, kind, self.cache.generation(key), hit)


def identity(path):
    stat = os.stat(path)
    return path, stat.st_ino, stat.st_size, stat.st_mtime_ns


def error(code, text):
    made = longshore.NotFoundError(text) if code == "not_found" else longshore.InvalidArgumentError(text)
    made.code = code
    return made


def read(path, dtype):
    import torch
    from safetensors import safe_open

    part = Part()
    with safe_open(path, "pt") as file:
        part.metadata = file.metadata() or {}
        for name in file.keys():
            tensor = file.get_tensor(name)
            part[name] = tensor.to(getattr(torch, dtype)) if dtype and tensor.is_floating_point() else tensor
    return part
