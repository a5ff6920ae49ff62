"""Control how glibc keeps freed memory, which it otherwise holds in fragments between small objects."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of malloc.h."""

MOVING, COMPUTING = 1 << 20, 32 << 20
"""Bytes from which a block counts as large: while weights are moved, and afterwards."""


def give_back_freed_memory() -> None:
    """Return free heap pages to the system, in about 10 ms. Does nothing with another C library than glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@contextmanager
def large_blocks_apart() -> Iterator[None]:
    """Allocate large blocks in their own pages while weights are moved, so that freeing them returns the pages.

    Otherwise the gaps of freed weights are too small for new ones, and a model of 2 GB occupies 3 GB. Afterwards only
    the largest blocks have their own pages, which is faster for a network's short-lived blocks. Does nothing with
    another C library than glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        yield
        return
    mallopt(MMAP_THRESHOLD, MOVING)
    try:
        yield
    finally:
        mallopt(MMAP_THRESHOLD, COMPUTING)
        give_back_freed_memory()
