from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ignite.engine import Engine, Events

from biomedjourney_monai.training.data.order import ShuffledBatches


def take(batches, count):
    return list(islice(batches, count))


def test_every_example_comes_once_before_any_comes_again():
    stream = [place for batch in take(ShuffledBatches(10, batch_size=4, seed=0), 5) for place in batch]
    assert sorted(stream[:10]) == sorted(stream[10:]) == list(range(10))
    assert stream[:10] != stream[10:]


def test_an_epoch_goes_once_through_what_fills_a_batch():
    assert len(ShuffledBatches(10, batch_size=4, seed=0)) == 2
    assert len(ShuffledBatches(3, batch_size=4, seed=0)) == 1
    assert len(ShuffledBatches(64, batch_size=4, seed=0, processes=8)) == 2


def test_the_seed_decides_the_order():
    first, same, other = (take(ShuffledBatches(50, batch_size=5, seed=seed), 10) for seed in (1, 1, 2))
    assert first == same != other


@given(items=st.integers(1, 40), batch_size=st.integers(1, 6), skipped=st.integers(0, 30), seed=st.integers(0, 99))
def test_a_later_start_goes_on_with_the_same_batches(items, batch_size, skipped, seed):
    whole = take(ShuffledBatches(items, batch_size=batch_size, seed=seed), skipped + 5)
    later = ShuffledBatches(items, batch_size=batch_size, seed=seed)
    later.first_batch = skipped
    assert take(later, 5) == whole[skipped:]


@given(items=st.integers(1, 40), batch_size=st.integers(1, 6), processes=st.integers(1, 4))
def test_processes_see_together_what_one_sees_alone(items, batch_size, processes):
    alone = take(ShuffledBatches(items, batch_size=batch_size * processes, seed=3), 6)
    shares = [
        take(ShuffledBatches(items, batch_size=batch_size, seed=3, process=number, processes=processes), 6)
        for number in range(processes)
    ]
    assert alone == [[place for row in zip(*batches) for place in row] for batches in zip(*shares)]


def test_it_starts_at_the_trainers_iteration():
    batches = ShuffledBatches(10, batch_size=2, seed=0)
    engine = Engine(lambda engine, batch: None)
    batches.attach(engine)
    engine.state.iteration = 7
    engine.fire_event(Events.STARTED)
    assert batches.first_batch == 7


@pytest.mark.parametrize("wrong", [{"items": 0}, {"batch_size": 0}, {"process": 2, "processes": 2}, {"process": -1}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="found"):
        ShuffledBatches(**{"items": 4, "batch_size": 2, "seed": 0, **wrong})


def test_each_shuffle_shows_the_next_variant_of_every_example():
    stream = [place for batch in take(ShuffledBatches(6, batch_size=3, seed=0, variants=4), 8) for place in batch]
    shuffles = [stream[start : start + 6] for start in range(0, 24, 6)]
    assert all(sorted(place % 6 for place in shuffle) == list(range(6)) for shuffle in shuffles)
    for item in range(6):
        variants = [next(place // 6 for place in shuffle if place % 6 == item) for shuffle in shuffles]
        assert sorted(variants) == [0, 1, 2, 3]
        assert variants == [(number + item) % 4 for number in range(4)]
