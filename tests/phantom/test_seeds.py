import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.phantom.seeds import derive_rng, derive_seed, scatter_id


def test_scatter_id_is_one_to_one():
    scattered = [scatter_id(position, key=5, digits=3) for position in range(1000)]
    assert sorted(scattered) == list(range(1000))


@given(st.integers(0, 10**7 - 1), st.integers(0, 2**63))
def test_scatter_id_stays_in_range(position, key):
    assert 0 <= scatter_id(position, key=key, digits=7) < 10**7


def test_scatter_id_looks_random():
    scattered = np.array([scatter_id(position, key=11, digits=7) for position in range(4000)])
    assert abs(np.corrcoef(np.arange(4000), scattered)[0, 1]) < 0.06
    assert 0.45 < (np.diff(scattered) > 0).mean() < 0.55


@pytest.mark.parametrize("position", [-1, 1000])
def test_scatter_id_refuses_positions_out_of_range(position):
    with pytest.raises(ValueError, match="position"):
        scatter_id(position, key=0, digits=3)


def test_streams_are_repeatable_and_apart():
    assert derive_seed(1, "a", 2) == derive_seed(1, "a", 2)
    names = [(1, "a", 2), (2, "a", 2), (1, "b", 2), (1, "a", 3)]
    assert len({derive_rng(*name).random() for name in names}) == len(names)
