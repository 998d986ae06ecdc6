"""What the page cache holds of a file: asked, emptied and filled without being root."""
import ctypes
import mmap
import os
import subprocess
import sys

CACHESTAT_SYSCALL = 451  # the same number on every architecture
PAGE_BYTES = mmap.PAGESIZE
READ_BYTES = 16 << 20
ATTEMPTS = 5  # writeback and readahead may still hold or bring in pages at the first try

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.mmap.restype = ctypes.c_void_p
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_MAP_FAILED = ctypes.c_void_p(-1).value


class _Range(ctypes.Structure):
    _fields_ = [("offset_bytes", ctypes.c_uint64), ("length_bytes", ctypes.c_uint64)]


class _Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("cached", "dirty", "writeback", "evicted", "recently_evicted")]


def pages_by_cachestat(fd):
    whole, counts = _Range(0, 0), _Counts()
    if _libc.syscall(CACHESTAT_SYSCALL, fd, ctypes.byref(whole), ctypes.byref(counts), 0) != 0:
        return None
    return counts.cached


def pages_by_mincore(fd, size_bytes):
    address = _libc.mmap(None, size_bytes, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    if address == _MAP_FAILED:
        raise OSError(ctypes.get_errno(), "mmap for mincore")
    pages = ctypes.create_string_buffer(-(-size_bytes // PAGE_BYTES))
    failed = _libc.mincore(address, size_bytes, pages)
    _libc.munmap(address, size_bytes)
    if failed:
        raise OSError(ctypes.get_errno(), "mincore")
    return sum(byte & 1 for byte in pages.raw)


def resident_fraction(path):
    """The part of the file, 0 to 1, that the page cache holds; by cachestat, before Linux 6.5 by mincore."""
    with open(path, "rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes == 0:
            return 0.0
        pages = pages_by_cachestat(file.fileno())
        if pages is None:
            pages = pages_by_mincore(file.fileno(), size_bytes)
    return pages / -(-size_bytes // PAGE_BYTES)


def make_cold(path, resident_max=0.01):
    """Drops the file from the page cache; RuntimeError if more than `resident_max` of it stays."""
    for _ in range(ATTEMPTS):
        with open(path, "rb") as file:
            os.fsync(file.fileno())  # dirty pages cannot be dropped
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if (resident := resident_fraction(path)) < resident_max:
            return resident
    raise RuntimeError(f"{path}: {resident:.1%} stays in the page cache; is it mapped by another process?")


def make_hot(path, resident_min=0.99):
    """Reads the file until the page cache holds it; RuntimeError if less than `resident_min` of it stays.

    What is there already stays as it came: the small folios that writes or page faults have left cost two to three times
    as much to map as those of these reads. Who compares makes the file cold first.
    """
    buffer = memoryview(bytearray(READ_BYTES))
    for _ in range(ATTEMPTS):
        if (resident := resident_fraction(path)) > resident_min:
            return resident
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    raise RuntimeError(f"{path}: only {resident:.1%} stays in the page cache; is there enough free memory?")


def available_bytes():
    """MemAvailable, or what is left of a memory-limited control group when that is less."""
    with open("/proc/meminfo") as file:
        facts = dict(line.split(":") for line in file)
    available = int(facts["MemAvailable"].split()[0]) * 1024
    try:
        with open("/sys/fs/cgroup/memory.max") as limit, open("/sys/fs/cgroup/memory.current") as current:
            available = min(available, int(limit.read()) - int(current.read()))
    except (OSError, ValueError):  # no such limit, or "max"
        pass
    return available


def warm_memory(wanted_bytes):
    """Touches and frees that much memory (at most 85 % of what is available) in another process; returns the amount.

    A virtual machine may have handed free memory back to its host, and the first loader to touch it would pay for that.
    """
    size_bytes = int(min(wanted_bytes, 0.85 * available_bytes()))
    touch = (
        "import ctypes, mmap, sys\n"
        "memory = mmap.mmap(-1, int(sys.argv[1]), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "memory.madvise(mmap.MADV_HUGEPAGE)\n"
        "ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(memory)), 1, len(memory))\n"
    )
    subprocess.run([sys.executable, "-c", touch, str(size_bytes)], check=True)
    return size_bytes
