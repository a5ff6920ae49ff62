import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.evaluation.metrics.cmig import clamped_terms, compute_cmig, compute_cmig_with_dice

TABLE_1 = {  # model: pathology AUC, race AUC, age r, Dice of Table 4, two-term and three-term score by hand
    "SD": (49.90, 77.13, 2.73, 1.37, 26.91, 18.16),
    "InstructPix2Pix": (58.10, 78.25, 17.82, 38.33, 46.58, 46.78),
    "RoentGen": (79.61, 84.71, 28.91, 67.38, 62.77, 66.08),
    "BiomedJourney": (80.54, 97.22, 79.38, 81.05, 84.11, 82.99),
}
shares = st.floats(0.01, 1)


@pytest.mark.parametrize("model", TABLE_1)
def test_cmig_follows_the_definition_on_the_papers_inputs(model):
    pathology, race, age, _, expected, _ = TABLE_1[model]
    assert compute_cmig([pathology], [race, age]) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("model", TABLE_1)
def test_fractions_give_a_hundredth_of_percent(model):
    pathology, race, age, _, expected, _ = TABLE_1[model]
    assert compute_cmig([pathology / 100], [race / 100, age / 100]) == pytest.approx(expected / 100, abs=5e-5)


@pytest.mark.parametrize("model", TABLE_1)
def test_three_term_variant_adds_dice(model):
    pathology, race, age, dice, _, expected = TABLE_1[model]
    assert compute_cmig_with_dice([pathology], [race, age], dice) == pytest.approx(expected, abs=0.005)


def test_terms_may_be_named():
    assert compute_cmig({"auroc": 0.8}, {"race": 0.9, "age": 0.7}) == compute_cmig([0.8], [0.9, 0.7])


def test_negative_correlation_counts_as_zero_and_is_named():
    assert compute_cmig([0.8], [0.9, -0.3]) == 0.0
    assert clamped_terms({"race": 0.9, "age": -0.3}) == ["age"]


def test_unknown_term_gives_an_unknown_score():
    assert math.isnan(compute_cmig([0.8], [math.nan, 0.3]))


def test_arrays_of_replicates_are_scored_one_by_one():
    scores = compute_cmig([np.array([0.8, 0.5])], [np.array([0.9, 0.5]), np.array([0.7, -1.0])])
    assert scores == pytest.approx([compute_cmig([0.8], [0.9, 0.7]), 0.0])


@pytest.mark.parametrize("accuracy, retention", [([], [1.0]), ([1.0], [])])
def test_a_side_without_terms_is_refused(accuracy, retention):
    with pytest.raises(ValueError, match="at least one term"):
        compute_cmig(accuracy, retention)


@given(st.lists(shares, min_size=1, max_size=4), st.lists(shares, min_size=1, max_size=4))
def test_score_lies_between_smallest_and_largest_term(accuracy, retention):
    score = compute_cmig(accuracy, retention)
    assert min(accuracy + retention) - 1e-9 <= score <= max(accuracy + retention) + 1e-9
    assert score == pytest.approx(compute_cmig(retention, accuracy))
