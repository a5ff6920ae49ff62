import numpy as np
import pytest
import torch
from monai.metrics.fid import get_fid_score
from sklearn.metrics.pairwise import polynomial_kernel

from biomedjourney_monai.evaluation.metrics.feature_sets import compute_fid, compute_kid


def _sets(n=60, width=8, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(0, 1, (n, width)), generator.normal(0.5, 1.4, (n, width))


def test_fid_is_monais():
    one, other = _sets()
    expected = get_fid_score(torch.from_numpy(one), torch.from_numpy(other)).item()
    assert compute_fid(one, other) == pytest.approx(expected, rel=1e-6)


def test_fid_by_hand_in_one_dimension():
    one, other = np.array([[0.0], [2.0]]), np.array([[10.0], [16.0]])
    # means 1 and 13, standard deviations sqrt(2) and sqrt(18): 12 ** 2 + (sqrt(18) - sqrt(2)) ** 2
    assert compute_fid(one, other) == pytest.approx(144 + 8)


def test_fid_of_fewer_images_than_features_is_that_of_the_covariances():
    one, other = _sets(n=5, width=12)
    roots = []
    for features in (one, other):
        values, vectors = np.linalg.eigh(np.cov(features.T))
        roots.append(vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T)
    common = np.linalg.svd(roots[0] @ roots[1], compute_uv=False).sum()
    spread = np.trace(np.cov(one.T)) + np.trace(np.cov(other.T))
    expected = ((one.mean(0) - other.mean(0)) ** 2).sum() + spread - 2 * common
    assert compute_fid(one, other) == pytest.approx(expected, rel=1e-6)


def test_equal_sets_have_no_distance():
    one, _ = _sets()
    assert compute_fid(one, one) == pytest.approx(0, abs=1e-8)
    assert compute_kid(one, one) <= 0  # unbiased: the pairs of an image with itself count in one term alone


def _kid_by_scikit_learn(one, other):
    def kernel(x, y):
        return polynomial_kernel(x, y, degree=3, gamma=1 / x.shape[1], coef0=1)

    n = len(one)
    within = sum((kernel(x, x).sum() - np.trace(kernel(x, x))) / (n * (n - 1)) for x in (one, other))
    return within - 2 * kernel(one, other).mean()


def test_kid_is_the_unbiased_discrepancy():
    one, other = _sets()
    assert compute_kid(one, other) == pytest.approx(_kid_by_scikit_learn(one, other))


def test_weights_of_one_and_zero_choose_rows():
    one, other = _sets(n=20)
    weights = np.stack([np.ones(20), np.arange(20) < 12]).astype(float)
    expected = [_kid_by_scikit_learn(one, other), _kid_by_scikit_learn(one[:12], other[:12])]
    assert compute_kid(one, other, weights=weights) == pytest.approx(expected)


def test_an_image_that_is_held_twice_is_not_its_own_neighbour():
    one, other = _sets(n=6)
    doubled = compute_kid(one, other, weights=np.full((1, 6), 2.0))[0]
    n, w = 6, 2.0
    kernels = [polynomial_kernel(x, y, degree=3, gamma=1 / 8, coef0=1) for x, y in ((one, one), (other, other))]
    within = sum(w * w * (k.sum() - np.trace(k)) / ((w * n) ** 2 - n * w * w) for k in kernels)
    between = polynomial_kernel(one, other, degree=3, gamma=1 / 8, coef0=1).mean()
    assert doubled == pytest.approx(within - 2 * between)


def test_too_few_images_say_nothing_and_other_widths_are_refused():
    assert np.isnan(compute_fid(np.zeros((1, 3)), np.zeros((4, 3))))
    assert np.isnan(compute_kid(np.zeros((1, 3)), np.zeros((1, 3))))
    with pytest.raises(ValueError, match="found"):
        compute_fid(np.zeros((4, 3)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match="one shape"):
        compute_kid(np.zeros((4, 3)), np.zeros((5, 3)))
