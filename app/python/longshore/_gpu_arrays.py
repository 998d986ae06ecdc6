"""torch tensors over a GPU's memory, without a copy: torch takes the address from CUDA's array interface.

Work that uses a tensor may still be queued when its last view goes. Its lease therefore ends only once the stream that
was torch's current one when the tensor was made has done what was queued in it by then; a thread waits for that.
"""
from __future__ import annotations

import contextlib
import functools
import queue
import threading
from typing import Any, Callable

from . import _core

Taker = Callable[[_core.File, int, int], Any]


class GpuBytes:
    """A part of a file in a GPU's memory. Who takes its address keeps it, and it keeps the lease."""

    def __init__(self, file: _core.File, address: int, size: int, stream: Any) -> None:
        self._file, self._address, self._size, self._stream = file, address, size, stream

    @property
    def __cuda_array_interface__(self) -> "dict[str, Any]":
        """Version 3. No stream: the bytes were there before the lease was. Not read-only, as torch knows no such tensors."""
        return {
            "version": 3,
            "typestr": "|u1",
            "shape": (self._size,),
            "strides": None,
            "data": (self._address, False),
            "stream": None,
        }

    def __del__(self) -> None:
        with contextlib.suppress(RuntimeError):  # of a GPU that can no longer say: it runs nothing any more
            if not self._stream.query():
                _keeper().keep(self._file, self._stream.record_event())


class _Keeper:
    """Keeps files until events have come, in a thread of its own. At most one entry a tensor that was dropped."""

    def __init__(self) -> None:
        self._kept: "queue.SimpleQueue[tuple[_core.File, Any]]" = queue.SimpleQueue()
        threading.Thread(target=self._wait, name="longshore-streams", daemon=True).start()

    def keep(self, file: _core.File, event: Any) -> None:
        self._kept.put((file, event))

    def _wait(self) -> None:
        while True:
            file, event = self._kept.get()
            with contextlib.suppress(RuntimeError):
                event.synchronize()
            del file, event


@functools.cache
def _keeper() -> _Keeper:
    return _Keeper()


def taker(torch: Any, device: str) -> Taker:
    """A function of a file, an address in the device's memory and a size, which makes a flat tensor of bytes."""
    place = torch.device(device)
    _keeper()  # now, since a thread cannot begin while the interpreter ends

    def take(file: _core.File, address: int, size: int) -> Any:
        return torch.as_tensor(GpuBytes(file, address, size, torch.cuda.current_stream(place)), device=place)

    return take
