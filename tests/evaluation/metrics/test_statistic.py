import tracemalloc

import numpy as np
import pytest
from scipy.stats import norm

from biomedjourney_monai.evaluation.metrics import statistic
from biomedjourney_monai.evaluation.metrics.auroc import compute_auroc
from biomedjourney_monai.evaluation.metrics.correlation import compute_pearson_r
from biomedjourney_monai.evaluation.metrics.severity import compute_concordance
from biomedjourney_monai.evaluation.metrics.statistic import (
    draw_patient_weights,
    percentile_interval,
    replicate_by_block,
    weighted_mean,
)


def test_rows_of_one_patient_are_drawn_together():
    patients = np.array(["b", "a", "b", "c", "a"])
    weights = draw_patient_weights(patients, replicates=50, seed=1)
    assert weights.shape == (51, 5)
    np.testing.assert_array_equal(weights[0], 1)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    assert (weights[1:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_same_seed_same_weights():
    patients = np.arange(20)
    one, two = (draw_patient_weights(patients, replicates=9, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_interval_of_a_mean_agrees_with_the_normal_one():
    values = np.random.default_rng(0).normal(0, 1, 400)
    weights = draw_patient_weights(np.arange(400), replicates=2000, seed=1)
    low, high = percentile_interval(weighted_mean(values, weights=weights)[1:])
    expected = norm.interval(0.95, values.mean(), values.std() / 20)
    assert (low, high) == pytest.approx(expected, abs=0.015)


def test_interval_is_wider_where_rows_of_a_patient_agree():
    values = np.repeat(np.random.default_rng(0).normal(0, 1, 100), 4)

    def width(patients):
        weights = draw_patient_weights(patients, replicates=500, seed=1)
        return np.subtract(*percentile_interval(weighted_mean(values, weights=weights)[1:])[::-1])

    assert width(np.repeat(np.arange(100), 4)) > 1.6 * width(np.arange(400))


def test_interval_is_unknown_where_most_replicates_are():
    assert np.isnan(percentile_interval(np.array([np.nan, np.nan, 0.3]))).all()
    assert np.isnan(percentile_interval(np.array([]))).all()


def test_weighted_mean_leaves_unknown_rows_out():
    assert weighted_mean(np.array([1.0, np.nan, 3.0]), weights=np.array([[1, 1, 1], [0, 5, 0.0]]))[0] == 2


def test_blocks_of_replicates_are_all_replicates_in_their_order(monkeypatch):
    weights = np.random.default_rng(0).integers(0, 4, (11, 6)).astype(np.uint16)
    chosen = np.array([True, False, True, True, False, True])
    monkeypatch.setattr(statistic, "BLOCK_VALUES", 18)
    heights = []

    def total(block):
        heights.append(len(block))
        return block.sum(axis=1)

    np.testing.assert_array_equal(replicate_by_block(total, weights, chosen), weights[:, chosen].sum(axis=1))
    assert max(heights) <= 3


@pytest.mark.parametrize(
    "statistic",
    [
        lambda values, weights: weighted_mean(values, weights=weights),
        lambda values, weights: compute_auroc(values, np.arange(len(values)) % 2, weights=weights),
        lambda values, weights: compute_pearson_r(values, values**2, weights=weights),
        lambda values, weights: compute_concordance(values, 1 + np.arange(len(values)) % 3, weights=weights),
    ],
)
def test_a_statistic_needs_no_more_memory_for_more_journeys_and_rounds(statistic):
    def peak(journeys, rounds):
        weights = np.ones((rounds, journeys), np.uint16)
        values = np.random.default_rng(0).random(journeys)
        tracemalloc.start()
        statistic(values, weights)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(2000, 1000) < 1.2 * peak(1000, 500)
