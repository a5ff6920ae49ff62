"""Apply a function to many items in many processes: the same results in the same order for any number of processes.

Dask does the work, on a cluster that is started on this machine or on one that runs already.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

from biomedjourney_monai.errors import BiomedJourneyError, ConfigError, SettingError

if TYPE_CHECKING:
    from distributed import Client, Future

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

CHUNK = 8
CHUNKS_PER_WORKER = 4
"""Chunks that wait at each worker: enough to keep it busy, while memory does not grow with the number of items."""

CONNECT_TIMEOUT = 10

ALLOWED_DEATHS = 1
"""How often an item may lose its worker and still get another one, if `on_death` is given. Dask's default is 3."""

CRASHED = "reader crashed"
"""The reason to leave out an image whose decoder kills its process."""


@dataclass(frozen=True)
class Workers:
    """The processes of a stage.

    Args:
        processes: on this machine; 1 runs in this process. Not used with a scheduler.
        scheduler: address of a Dask scheduler, for example tcp://10.0.0.5:8786; its workers must see the same files.
    """

    processes: int = 1
    scheduler: str | None = None

    @classmethod
    def of(cls, processes: int | None, scheduler: str | None = None) -> Workers:
        """As asked; None and 0 take one process for each core that this process may use.

        Raises:
            SettingError: if the number is negative.
        """
        if processes is not None and processes < 0:
            raise SettingError("processes", "must be >= 1, or 0 for one per core", found=str(processes))
        return cls(processes or available_cores(), scheduler)


ALONE = Workers()
"""This process."""


def map_in_processes(
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    *,
    processes: int,
    title: str,
    unit: str,
    scheduler: str | None = None,
    chunk: int = CHUNK,
    on_death: Callable[[_Item], _Result] | None = None,
) -> Iterator[_Result]:
    """Apply `function` to each item, with a progress bar; results come in the order of the items.

    Args:
        function: picklable, without state or randomness of its own.
        items: picklable.
        processes: as for `Workers`.
        title: of the progress bar.
        unit: of the progress bar's rate.
        scheduler: as for `Workers`.
        chunk: items that a worker gets at once.
        on_death: gives the result of an item that kills every worker it comes to, as a damaged file can kill a
            decoder; None ends the run. With 1 process, which is this one, nothing can be caught.

    Raises:
        ConfigError: if no scheduler answers at the address.
        BiomedJourneyError: if a worker was killed several times, for example for lack of memory, and `on_death` is
            None.
    """
    processes = max(1, min(processes, len(items)))
    show = partial(tqdm, total=len(items), desc=title, unit=f" {unit}", mininterval=0.5)
    if (processes == 1 and not scheduler) or not items:
        yield from show(map(function, items))
        return
    with _open_cluster(processes, scheduler, allowed_deaths=None if on_death is None else ALLOWED_DEATHS) as client:
        yield from show(_map_on_cluster(client, function, items, chunk, on_death))


def available_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _open_cluster(processes: int, scheduler: str | None, *, allowed_deaths: int | None) -> Iterator[Client]:
    import dask
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # its warnings print arguments, and so file names
    if scheduler:
        try:
            client = Client(scheduler, timeout=CONNECT_TIMEOUT, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise ConfigError(
                "--scheduler must be the address of a Dask scheduler that answers",
                found=type(error).__name__,
                action="Start one with `dask scheduler`, and workers with `dask worker`",
            ) from error
        with client:
            yield client
        return
    deaths = {} if allowed_deaths is None else {"distributed.scheduler.allowed-failures": allowed_deaths}
    with (
        dask.config.set(deaths),
        tempfile.TemporaryDirectory() as scratch,
        LocalCluster(
            n_workers=processes,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,
            silence_logs=logging.CRITICAL,
            local_directory=scratch,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _map_on_cluster(
    client: Client,
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    chunk: int,
    on_death: Callable[[_Item], _Result] | None,
) -> Iterator[_Result]:
    from distributed import CancelledError, KilledWorker

    workers = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
    window = workers * CHUNKS_PER_WORKER
    starts = iter(range(0, len(items), chunk))
    waiting: deque[tuple[Sequence[_Item], Future]] = deque()
    try:
        while True:
            while len(waiting) < window and (start := next(starts, None)) is not None:
                some = items[start : start + chunk]
                waiting.append((some, _submit(client, function, some)))
            if not waiting:
                return
            some, future = waiting.popleft()
            try:
                results = future.result()
            except KilledWorker:
                if on_death is None:
                    raise
                for _, other in waiting:
                    other.exception()  # waits: a worker that dies counts against every chunk that waits at it
                results = [_run_alone(client, function, item, on_death) for item in some]
            yield from results
    except (KilledWorker, CancelledError) as error:
        raise BiomedJourneyError(
            "workers must survive their items",
            found="a worker that was killed several times",
            action="Give it more memory or fewer --processes, and run again: finished work is kept",
        ) from error


def _submit(client: Client, function: Callable[[_Item], _Result], items: Sequence[_Item]) -> Future:
    import cloudpickle

    # Packed here and not by Dask, which waits forever if a worker cannot import the function.
    return client.submit(_run_chunk, cloudpickle.dumps((function, items)), pure=False)


def _run_alone(
    client: Client, function: Callable[[_Item], _Result], item: _Item, on_death: Callable[[_Item], _Result]
) -> _Result:
    """Run with nothing else on the cluster, so that only this item can be the reason if a worker dies."""
    from distributed import KilledWorker

    try:
        return _submit(client, function, [item]).result()[0]
    except KilledWorker:
        return on_death(item)


def _run_chunk(packed: bytes) -> list[object]:
    import cloudpickle
    import cv2

    cv2.setNumThreads(1)
    function, chunk = cloudpickle.loads(packed)
    return [function(item) for item in chunk]
