"""A function over many items in many processes: the same results in the same order, however many processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from tqdm import tqdm

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

CHUNK = 8


def map_in_processes(
    function: Callable[[_Item], _Result], items: Sequence[_Item], *, processes: int, title: str, unit: str
) -> Iterator[_Result]:
    """Apply `function` to each item, with a progress bar; results come in the order of the items.

    Args:
        function: picklable, without state or randomness of its own.
        items: picklable.
        processes: 1 runs in this process.
        title: of the progress bar.
        unit: of the progress bar's rate.
    """
    processes = max(1, min(processes, len(items)))
    bar = {"total": len(items), "desc": title, "unit": f" {unit}", "mininterval": 0.5}
    if processes == 1:
        yield from tqdm(map(function, items), **bar)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy locks of threads
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_use_one_thread) as pool:
        yield from tqdm(pool.map(function, items, chunksize=CHUNK), **bar)


def available_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _use_one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)
