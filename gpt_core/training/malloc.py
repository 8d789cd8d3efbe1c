"""Main memory for a training loop on the CPU: kept from update to update, in huge pages."""

import ctypes
import sys

# mallopt(3) and madvise(2), from malloc.h and asm-generic/mman-common.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MADV_HUGEPAGE = -1, -3, 14
_HUGE_PAGE = 2 << 20
RESERVED = 256 << 20  # bytes; a small model's activations. Pages that are never used cost nothing.


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for as long as it lives; whether the C library agreed.

    An update allocates the same tensors as the one before it, while glibc by itself hands large ones back to
    Linux as they are freed, and places small ones wherever there is room. With this, the preset `cpu`
    trains 1.05 to 1.06 x as fast as a bare loop, and without it 0.99 to 1.05 x, another figure in each
    process (tests/bench/bench_train.py). Only on Linux with glibc; elsewhere nothing happens."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return False
    # Setting one of the two fixes the other at its small default, so both are set.
    largest = (1 << 30, 32 << 20)  # the second is the most that older versions of glibc take
    if not any(libc.mallopt(_MMAP_THRESHOLD, size) for size in largest):
        return False
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    # One block at the top of the heap, freed at once: what is allocated from now on comes out of it.
    block = libc.malloc(RESERVED)
    if block:
        first = -(-block // _HUGE_PAGE) * _HUGE_PAGE
        whole = (block + RESERVED - first) // _HUGE_PAGE * _HUGE_PAGE
        libc.madvise(first, whole, _MADV_HUGEPAGE)  # advice: refused, it costs nothing
        libc.free(block)
    return True
