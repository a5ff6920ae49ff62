"""What glibc does with freed memory: it keeps it, in pieces between small objects that live on, unless it is told."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of malloc.h."""

MOVING, COMPUTING = 1 << 20, 32 << 20
"""Bytes from which a block counts as large: while weights are moved, and afterwards."""


def give_back_freed_memory() -> None:
    """Return free heap pages to the system, in about 10 ms; does nothing where the C library is not glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@contextmanager
def large_blocks_apart() -> Iterator[None]:
    """Give each large block pages of its own, which go back to the system with it, for as long as weights are moved.

    Otherwise what freed weights leave behind is too small for the next ones, and a model of 2 GB holds 3. Afterwards
    all but the largest blocks come from the heap again, which is faster for a network's short-lived ones. Does nothing
    where the C library is not glibc.
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
