import os
import resource
import signal
import sys

import cloudpickle
import pytest

from biomedjourney_monai.errors import BiomedJourneyError, ConfigError
from biomedjourney_monai.preparation.parallel import CHUNK, map_in_processes


def square(number: int) -> int:
    return number * number


def process_of(_number: int) -> int:
    return os.getpid()


def fail_at_three(number: int) -> int:
    if number == 3:
        raise RuntimeError("three")
    return number


@pytest.fixture
def _packed_by_value():
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


by_value = pytest.mark.usefixtures("_packed_by_value")


def collect(function, items, **options) -> list:
    return list(map_in_processes(function, items, title="test", unit="items", **options))


@by_value
def test_results_come_in_order_from_several_processes():
    numbers = list(range(20 * CHUNK + 3))
    assert collect(square, numbers, processes=2) == [square(number) for number in numbers]


@by_value
def test_one_process_is_this_one_and_more_are_others():
    assert set(collect(process_of, range(3), processes=1)) == {os.getpid()}
    assert os.getpid() not in collect(process_of, range(3), processes=2)


def test_nothing_to_do_starts_nothing():
    assert collect(square, [], processes=4) == []


@by_value
def test_a_mistake_in_a_worker_is_raised_here():
    with pytest.raises(RuntimeError, match="three"):
        collect(fail_at_three, range(8), processes=2)


def die_at_some(number: int) -> int:
    if number in (3, CHUNK + 1):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), signal.SIGSEGV)  # as a decoder dies of a damaged file
    return number


@by_value
def test_items_that_take_their_workers_down_are_left_out_and_the_rest_goes_on():
    numbers = list(range(3 * CHUNK))
    expected = [-number if number in (3, CHUNK + 1) else number for number in numbers]
    assert collect(die_at_some, numbers, processes=2, on_death=lambda number: -number) == expected


@by_value
@pytest.mark.slow
def test_without_anything_to_stand_for_it_such_an_item_ends_the_run():
    with pytest.raises(BiomedJourneyError, match="killed"):
        collect(die_at_some, range(2 * CHUNK), processes=2)


@by_value
def test_a_scheduler_that_is_there_is_used():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with distributed.LocalCluster(**options) as cluster:
        found = collect(process_of, range(2 * CHUNK), processes=1, scheduler=cluster.scheduler_address)
    assert len(set(found)) == 1 and os.getpid() not in found


def test_a_function_that_workers_cannot_import_is_an_error_not_a_wait():
    with pytest.raises(ModuleNotFoundError):
        collect(square, range(9), processes=2)


def test_a_scheduler_that_does_not_answer_is_told(monkeypatch):
    monkeypatch.setattr("biomedjourney_monai.preparation.parallel.CONNECT_TIMEOUT", 0.5)
    with pytest.raises(ConfigError, match="--scheduler"):
        collect(square, [1], processes=1, scheduler="tcp://127.0.0.1:1")
