import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr

from biomedjourney_monai.evaluation.metrics.correlation import compute_pearson_r


@given(st.integers(0, 10_000))
def test_agrees_with_scipy_also_where_rows_are_repeated(seed):
    generator = np.random.default_rng(seed)
    x = generator.normal(60, 15, 30)
    y = 0.5 * x + generator.normal(0, 10, 30)
    weights = generator.integers(0, 3, (2, 30))
    assert compute_pearson_r(x, y) == pytest.approx(pearsonr(x, y).statistic)
    for r, value in enumerate(compute_pearson_r(x, y, weights=weights)):
        assert value == pytest.approx(pearsonr(np.repeat(x, weights[r]), np.repeat(y, weights[r])).statistic)


def test_unknown_ages_are_left_out():
    assert compute_pearson_r([1, 2, 9, 3], [2, 4, np.nan, 6]) == pytest.approx(1)


@pytest.mark.parametrize("column", [[5.0, 5.0, 5.0], [np.nan, np.nan, 1.0]])
def test_constant_or_unknown_column_gives_nan(column):
    assert np.isnan(compute_pearson_r([1.0, 2.0, 3.0], column))
