import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import StandardScaler

from biomedjourney_monai.evaluation.metrics import neighbours
from biomedjourney_monai.evaluation.metrics.neighbours import chance_of_first, nearest_likeness, rank_of_own


def _noisy(n=40, noise=0.8, seed=0):
    generator = np.random.default_rng(seed)
    gallery = generator.normal(size=(n, 12))
    return gallery + noise * generator.normal(size=gallery.shape), gallery


def test_ranks_are_those_of_scikit_learns_cosine(monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", 7)
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
    monkeypatch.setattr(neighbours, "BLOCK", 3)
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
