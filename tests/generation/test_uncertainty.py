import numpy as np
import pytest

from biomedjourney_monai.generation.uncertainty import spread_of


def test_mean_and_deviation_are_those_of_the_samples():
    samples = np.random.default_rng(0).uniform(size=(5, 3, 4)).astype(np.float32)
    spread = spread_of(samples)
    np.testing.assert_allclose(spread.mean, np.mean(samples, axis=0), atol=1e-6)
    np.testing.assert_allclose(spread.deviation, np.std(samples, axis=0, ddof=1), atol=1e-6)


def test_equal_samples_have_no_spread():
    assert not spread_of(np.full((3, 2, 2), 0.5)).deviation.any()


@pytest.mark.parametrize("shape", [(1, 4, 4), (4, 4)])
def test_one_sample_has_no_spread(shape):
    with pytest.raises(ValueError, match="K >= 2"):
        spread_of(np.zeros(shape))
