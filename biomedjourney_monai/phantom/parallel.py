"""Apply a function to many tasks in several processes, with results in order and little in memory."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import cv2

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def map_in_order(
    function: Callable[[_Task], _Result], tasks: Iterable[_Task], *, processes: int | None = None
) -> Iterator[_Result]:
    """Apply a function of a module to each task; results come in the order of the tasks.

    With 1 process everything runs in this process; None takes all cores.
    """
    processes = count_processes(processes)
    if processes == 1:
        yield from (_on_one_thread(function, task) for task in tasks)
        return
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=processes, return_as="generator", batch_size=4, pre_dispatch=8 * processes)
    yield from parallel(delayed(_on_one_thread)(function, task) for task in tasks)


def count_processes(processes: int | None) -> int:
    """The number of processes: as asked, or the number of cores that this process may use."""
    if processes:
        return max(1, processes)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _on_one_thread(function: Callable[[_Task], _Result], task: _Task) -> _Result:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return function(task)
    finally:
        cv2.setNumThreads(threads)
