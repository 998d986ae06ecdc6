"""Thousands of random operations on one small cache from several threads, with every byte checked that comes back.

    python tests/python/random_operations.py [--operations 10000] [--threads 4] [--seed 1]

Meant to run with AddressSanitizer loaded, as `./check python_asan` does; needs numpy alone. Prints what it did, and exits
with 1 on a wrong byte or an error that no operation should meet.
"""
import argparse
import collections
import gc
import random
import sys
import tempfile
import threading
import traceback
import zlib
from concurrent.futures import CancelledError
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import checkpoints
import longshore
import numpy

MEBIBYTE = 1 << 20
LIMIT = 24 * MEBIBYTE
MOST_HELD = 6  # models, arrays and loads that a thread keeps alive at once
EXPECTED = (
    longshore.OutOfBudgetError,
    longshore.LoadTimeoutError,
    longshore.NotFoundError,
    longshore.WrongKindError,
    CancelledError,
)


def write_files(folder):
    """{path: {name: checksum}} of five files of 1 to 5 MB, and an index of two."""
    files = {}
    for number in range(1, 6):
        tensors = {f"{number}.{i}": ("F32" if i % 3 else "F16", [number * 20 + i, 256]) for i in range(32)}
        files[checkpoints.write(folder / f"{number}.safetensors", tensors, number)] = None
    for path in files:
        header, begin = checkpoints.read_header(path)
        data = path.read_bytes()[begin:]
        files[path] = {name: zlib.crc32(data[slice(*facts["data_offsets"])]) for name, facts in header.items()}
    return files


class Worker(threading.Thread):
    def __init__(self, runtime, files, seed, operations):
        super().__init__()
        self.runtime, self.files, self.operations = runtime, files, operations
        self.random, self.paths = random.Random(seed), list(files)
        self.held, self.counts, self.failure = [], collections.Counter(), None

    def run(self):
        try:
            for _ in range(self.operations):
                self.step()
        except BaseException:
            self.failure = traceback.format_exc()
        self.held.clear()

    def step(self):
        operation = self.random.choice(OPERATIONS)
        try:
            operation(self)
            self.counts[operation.__name__] += 1
        except EXPECTED as reason:
            self.counts[type(reason).__name__] += 1
        while len(self.held) > MOST_HELD:
            self.held.pop(self.random.randrange(len(self.held)))

    def how(self):
        path = self.random.choice(self.paths)
        hold = self.random.choice(("auto", "owned", "mapped", "pinned"))
        return path, {"framework": "numpy", "deadline": 1.0, "hold": hold}

    def check(self, path, model):
        name = self.random.choice(list(model))
        assert zlib.crc32(model[name].tobytes()) == self.files[path][name], (path, name)

    def load(self):
        path, how = self.how()
        mode = self.random.choice(("auto", "auto", "override"))
        model = self.runtime.load(path, mode=mode, priority=self.random.choice(("now", "later")), **how)
        self.check(path, model)
        self.held.append(model)

    def load_and_write(self):
        path, how = self.how()
        model = self.runtime.load(path, writable=True, **how)
        array = model[self.random.choice(list(model))]
        array[...] = 1
        assert (array == 1).all()
        self.held.append(array)

    def cast(self):
        path, how = self.how()
        model = self.runtime.load(path, dtype="F16", **{**how, "hold": "owned"})
        assert {model.dtype_of(name) for name in model} == {"F16"}
        self.held.append(model)

    def slice(self):
        path, how = self.how()
        model = self.runtime.load(path, **how)
        view = next(iter(model.values()))[1::2, ::3]
        del model
        self.held.append((view, zlib.crc32(view.tobytes())))

    def look_again(self):
        for held in self.held:
            if isinstance(held, tuple):
                view, checksum = held
                assert zlib.crc32(view.tobytes()) == checksum

    def drop(self):
        if self.held:
            self.held.pop(self.random.randrange(len(self.held)))
        if self.random.random() < 0.05:
            gc.collect()

    def submit(self):
        path, how = self.how()
        self.held.append(self.runtime.submit(path, **how))

    def finish(self):
        loads = [held for held in self.held if isinstance(held, longshore.Load)]
        self.held = [held for held in self.held if not isinstance(held, longshore.Load)]
        for load in loads:
            load.result(10)

    def cancel(self):
        path, how = self.how()
        self.runtime.submit(path, **how).cancel()

    def prefetch(self):
        path, how = self.how()
        self.runtime.prefetch(path, **how)

    def put(self):
        value = numpy.full(100, self.random.randrange(100))
        size = self.random.randrange(4 * MEBIBYTE)
        self.runtime.cache.put(self.random.choice("abc"), value, size, on_evict=lambda key, gone: gone.sum(), deadline=1.0)

    def get(self):
        value = self.runtime.cache.get(self.random.choice("abc"), framework="numpy")
        assert len(set(value.tolist())) == 1

    def evict(self):
        cache, choice = self.runtime.cache, self.random.random()
        if choice < 0.1:
            return cache.clear()
        key = self.random.choice([*"abc", *map(str, self.paths)])
        cache.remove(key) if choice < 0.7 else cache.pin(key) if choice < 0.75 else cache.unpin(key)

    def status(self):
        status = self.runtime.status()
        assert status.host_used <= status.host_peak <= status.host_limit == LIMIT
        self.runtime.cache.stats()

    def open(self):
        path = self.random.choice(self.paths)
        with longshore.safe_open(path, "np") as file:
            name = self.random.choice(file.keys())
            assert zlib.crc32(file.get_tensor(name).tobytes()) == self.files[path][name]


OPERATIONS = [
    *[Worker.load] * 4, Worker.load_and_write, Worker.cast, *[Worker.slice] * 2, Worker.look_again, *[Worker.drop] * 2,
    Worker.submit, Worker.finish, Worker.cancel, Worker.prefetch, Worker.put, Worker.get, Worker.evict, Worker.status,
    Worker.open,
]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    build = Path(__file__).resolve().parents[2] / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="random-", dir=build) as folder:
        files = write_files(Path(folder))
        with longshore.Runtime(host_limit=LIMIT, memory_timeout=0.2) as runtime:
            share = arguments.operations // arguments.threads
            workers = [Worker(runtime, files, arguments.seed * 100 + i, share) for i in range(arguments.threads)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            stats = runtime.cache.stats()
    failures = [worker.failure for worker in workers if worker.failure]
    print(dict(sorted(sum((worker.counts for worker in workers), collections.Counter()).items())), stats)
    print("\n".join(failures))
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
