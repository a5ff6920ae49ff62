"""A function over many items in many processes: the same results in the same order, however many processes.

Dask does the work: a cluster on this machine, or one that is there already, on many machines.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

from biomedjourney_monai.errors import BiomedJourneyError, ConfigError

if TYPE_CHECKING:
    from distributed import Client, Future

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

CHUNK = 8
CHUNKS_PER_WORKER = 4
"""Chunks that wait at each worker: enough to keep it busy, and memory does not grow with the number of items."""

CONNECT_TIMEOUT = 10

ALLOWED_DEATHS = 1
"""How often an item may lose its worker and still get another one, where `on_death` stands for it. Dask's own is 3."""

CRASHED = "reader crashed"
"""The reason to leave out an image whose decoder takes its whole process down."""


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
        processes: on this machine; 1 runs in this process. Not used with a scheduler.
        title: of the progress bar.
        unit: of the progress bar's rate.
        scheduler: address of a Dask scheduler, for example tcp://10.0.0.5:8786; its workers must see the same files.
        chunk: items that a worker gets at once.
        on_death: from an item that takes down every worker that it comes to, as a damaged file can do to a decoder, to
            what stands for its result; None ends the run. With 1 process, which is this one, nothing can be caught.

    Raises:
        ConfigError: if no scheduler answers at the address.
        BiomedJourneyError: if a worker was killed again and again, as for want of memory, and `on_death` is None.
    """
    processes = max(1, min(processes, len(items)))
    bar = {"total": len(items), "desc": title, "unit": f" {unit}", "mininterval": 0.5}
    if (processes == 1 and not scheduler) or not items:
        yield from tqdm(map(function, items), **bar)
        return
    with _open_cluster(processes, scheduler, allowed_deaths=None if on_death is None else ALLOWED_DEATHS) as client:
        yield from tqdm(_map_on_cluster(client, function, items, chunk, on_death), **bar)


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
    starts, waiting = iter(range(0, len(items), chunk)), deque()
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
                    other.exception()  # waits: a worker that dies counts against all that waits at it
                results = [_run_alone(client, function, item, on_death) for item in some]
            yield from results
    except (KilledWorker, CancelledError) as error:
        raise BiomedJourneyError(
            "workers must live through their items",
            found="a worker that was killed several times",
            action="Give it more memory or fewer --processes, and run again: what is done stays done",
        ) from error


def _submit(client: Client, function: Callable[[_Item], _Result], items: Sequence[_Item]) -> Future:
    import cloudpickle

    # Packed here and not by Dask, which waits for ever where a worker cannot import the function.
    return client.submit(_run_chunk, cloudpickle.dumps((function, items)), pure=False)


def _run_alone(
    client: Client, function: Callable[[_Item], _Result], item: _Item, on_death: Callable[[_Item], _Result]
) -> _Result:
    """With nothing else on the cluster, so that it is this item if a worker dies."""
    from distributed import KilledWorker

    try:
        return _submit(client, function, [item]).result()[0]
    except KilledWorker:
        return on_death(item)


def _run_chunk(packed: bytes) -> list[_Result]:
    import cloudpickle
    import cv2

    cv2.setNumThreads(1)
    function, chunk = cloudpickle.loads(packed)
    return [function(item) for item in chunk]
