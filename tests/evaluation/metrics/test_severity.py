import numpy as np
import pytest
from scipy.stats import somersd
from sklearn.metrics import roc_auc_score

from biomedjourney_monai.evaluation.metrics.severity import compute_concordance


def test_concordance_by_hand():
    scores, grades = np.array([0.2, 0.6, 0.4, 0.9]), np.array([1, 2, 3, 3])
    # pairs of different grade: 1-2, 1-3, 1-3 and 2-3 (0.9 over 0.6) are in order; 2-3 (0.4 under 0.6) is not
    assert compute_concordance(scores, grades) == pytest.approx(4 / 5)


def test_concordance_follows_from_somers_d():
    generator = np.random.default_rng(0)
    grades = generator.integers(1, 4, 80)
    scores = np.round(grades + generator.normal(0, 1.5, 80), 1)  # with ties
    assert compute_concordance(scores, grades) == pytest.approx((somersd(grades, scores).statistic + 1) / 2)


def test_of_two_grades_it_is_the_auroc():
    generator = np.random.default_rng(1)
    grades = generator.choice([1, 3], 50)
    scores = generator.random(50)
    assert compute_concordance(scores, grades) == pytest.approx(roc_auc_score(grades == 3, scores))


def test_weights_are_repetitions():
    generator = np.random.default_rng(2)
    scores, grades = generator.random(30), generator.integers(1, 4, 30)
    times = generator.integers(0, 4, 30)
    repeated = compute_concordance(np.repeat(scores, times), np.repeat(grades, times))
    found = compute_concordance(scores, grades, weights=np.stack([np.ones(30), times]))
    assert found[0] == pytest.approx(compute_concordance(scores, grades))
    assert found[1] == pytest.approx(repeated)


def test_unknown_rows_are_left_out_and_one_grade_says_nothing():
    scores, grades = np.array([0.1, np.nan, 0.5, 0.9]), np.array([1, 3, np.nan, 2])
    assert compute_concordance(scores, grades) == 1
    assert np.isnan(compute_concordance(np.array([0.1, 0.2]), np.array([2, 2])))
