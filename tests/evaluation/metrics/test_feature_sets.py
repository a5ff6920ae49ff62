import numpy as np
import pytest
import torch
from monai.metrics.fid import get_fid_score
from sklearn.metrics.pairwise import cosine_similarity, polynomial_kernel
from sklearn.preprocessing import StandardScaler

from biomedjourney_monai.evaluation.metrics import feature_sets
from biomedjourney_monai.evaluation.metrics.feature_sets import (
    chance_of_first,
    compute_fid,
    compute_kid,
    nearest_likeness,
    rank_of_own,
)


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


def _noisy(n=40, noise=0.8, seed=0):
    generator = np.random.default_rng(seed)
    gallery = generator.normal(size=(n, 12))
    return gallery + noise * generator.normal(size=gallery.shape), gallery


def test_ranks_are_those_of_scikit_learns_cosine(monkeypatch):
    monkeypatch.setattr(feature_sets, "BLOCK", 7)
    images, gallery = _noisy()
    patients = np.arange(40)
    scaler = StandardScaler().fit(gallery)
    likeness = cosine_similarity(scaler.transform(images), scaler.transform(gallery))
    expected = [1 + (np.delete(row, n) >= row[n]).sum() for n, row in enumerate(likeness)]
    ranks, among = rank_of_own(images, gallery, patients)
    assert ranks.tolist() == expected
    assert 1 in expected and max(expected) > 1
    assert (among == 40).all()


def test_a_copy_of_the_prior_is_recognised_and_a_constant_image_is_not():
    _, gallery = _noisy()
    patients = np.arange(40)
    assert (rank_of_own(gallery, gallery, patients)[0] == 1).all()
    same = np.tile(gallery[:1] + 1, (40, 1))
    assert (rank_of_own(same, gallery, patients)[0] == 1).mean() <= 1 / 40


def test_other_priors_of_the_same_patient_do_not_compete():
    gallery = np.array([[1.0, 0], [0.9, 0.1], [0, 1], [-1, -1]])
    images = gallery[[1, 0, 2, 3]]  # the first two are swapped
    ranks, among = rank_of_own(images, gallery, np.array([5, 5, 6, 7]))
    assert ranks.tolist() == [1, 1, 1, 1]
    assert among.tolist() == [3, 3, 4, 4]


def test_unknown_rows_have_no_rank_and_do_not_compete():
    images, gallery = _noisy(n=5, noise=0)
    images[1], gallery[2] = np.nan, np.nan
    ranks, among = rank_of_own(images, gallery, np.arange(5))
    assert np.isnan(ranks[[1, 2]]).all()
    assert ranks[[0, 3, 4]].tolist() == [1, 1, 1]
    assert among[0] == 4


def test_the_nearest_of_another_patient_counts(monkeypatch):
    monkeypatch.setattr(feature_sets, "BLOCK", 3)
    images, gallery = _noisy()
    gallery[7] = images[3]
    owners = np.array([f"train{n}" for n in range(40)])
    patients = np.array([f"test{n}" for n in range(40)])
    nearest = nearest_likeness(images, gallery, patients=patients, gallery_patients=owners)
    scaler = StandardScaler().fit(gallery)
    expected = cosine_similarity(scaler.transform(images), scaler.transform(gallery)).max(axis=1)
    assert nearest == pytest.approx(expected)
    assert nearest[3] == pytest.approx(1)
    owners[7] = "test3"
    assert nearest_likeness(images, gallery, patients=patients, gallery_patients=owners)[3] < 0.99


def test_without_another_patient_there_is_no_nearest():
    images, gallery = _noisy(n=3)
    alone = np.array(["a"] * 3)
    assert np.isnan(nearest_likeness(images, gallery, patients=alone, gallery_patients=alone)).all()


def test_the_chance_among_some_rivals_is_the_share_of_draws_without_one_that_is_ahead():
    from itertools import combinations

    for rank, others, drawn in ((1, 9, 4), (3, 9, 4), (8, 9, 4), (2, 3, 49)):
        ahead = rank - 1
        draws = list(combinations(range(others), min(drawn, others)))
        expected = np.mean([min(draw) >= ahead for draw in draws])
        found = chance_of_first(np.array([rank, np.nan]), np.array([others + 1, others + 1]), rivals=drawn)
        assert found[0] == pytest.approx(expected)
        assert np.isnan(found[1])
