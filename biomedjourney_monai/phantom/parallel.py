"""Work over patients in several processes, with results in order and little in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def map_in_order(
    function: Callable[[_Task], _Result], tasks: Iterable[_Task], *, processes: int | None = None
) -> Iterator[_Result]:
    """Apply a function to each task; results come in the order of the tasks.

    Args:
        function: a function of a module, so that it can be sent to another process.
        processes: how many work at once; all cores if None. With 1, all happens in this process.
    """
    processes = count_processes(processes)
    if processes == 1:
        yield from map(_alone(function), tasks)
        return
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=processes, return_as="generator", batch_size=4, pre_dispatch=8 * processes)
    yield from parallel(delayed(_alone(function))(task) for task in tasks)


def count_processes(processes: int | None) -> int:
    """Return the number of processes: what is asked, or the number of cores this process may use."""
    if processes:
        return max(1, processes)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _alone:  # noqa: N801 (reads as a function)
    """Run a function on one thread of OpenCV."""

    def __init__(self, function: Callable) -> None:
        self._function = function

    def __call__(self, task):
        import cv2

        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            return self._function(task)
        finally:
            cv2.setNumThreads(threads)
