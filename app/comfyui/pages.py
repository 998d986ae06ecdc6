"""Memory that nobody reads any more, back to the system: pages of mapped files, and what the C library keeps of freed
memory for later. Any thread may call; where the system knows no such thing, nothing happens."""
from __future__ import annotations

import ctypes
import mmap
from typing import Any

_libc = ctypes.CDLL(None)
_MADV_DONTNEED = 4


def drop(tensor: Any) -> None:
    """Of a tensor in a mapped file only: its pages come back from the file if it is read again."""
    page = mmap.PAGESIZE
    first = -(-tensor.data_ptr() // page) * page
    size = (tensor.data_ptr() + tensor.nbytes) // page * page - first
    if size > 0:
        _libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(size), _MADV_DONTNEED)


def trim() -> None:
    """After a picture the C library keeps memory of all threads that made it, as much as a text encoder."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
