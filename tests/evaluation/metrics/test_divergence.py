import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import kl_div, rel_entr

from biomedjourney_monai.evaluation.metrics.divergence import compute_kl

rows = st.lists(st.lists(st.floats(0.001, 0.999), min_size=10, max_size=10), min_size=1, max_size=5)


def test_hand_worked_value():
    # (.5, .5) against (.25, .75): .5 log 2 + .5 log (2/3)
    assert compute_kl([[0.4, 0.4]], [[0.2, 0.6]]) == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3))


@given(rows)
def test_agrees_with_scipy(rows):
    p, q = np.split(np.array(rows), 2, axis=1)
    shares = [x / x.sum(axis=1, keepdims=True) for x in (p, q)]
    assert compute_kl(p, q) == pytest.approx(rel_entr(*shares).sum(axis=1), abs=1e-9)
    both = kl_div(p, q).sum(axis=1) + kl_div(1 - p, 1 - q).sum(axis=1)
    assert compute_kl(p, q, form="binary") == pytest.approx(both, abs=1e-9)


def test_certain_probabilities_stay_finite():
    assert np.isfinite(compute_kl([[1.0, 0.0]], [[0.0, 1.0]])).all()


def test_unscored_image_gives_nan():
    assert np.isnan(compute_kl([[np.nan, 0.1]], [[0.5, 0.5]])).all()


def test_unknown_form_is_refused():
    with pytest.raises(ValueError, match="form must be"):
        compute_kl([[0.5]], [[0.5]], form="softmax")
