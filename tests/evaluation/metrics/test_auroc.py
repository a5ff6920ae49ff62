import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.metrics import compute_roc_auc
from sklearn.metrics import roc_auc_score

from biomedjourney_monai.evaluation.metrics.auroc import compute_auroc, compute_finding_aurocs, compute_group_aurocs


def test_hand_worked_value_with_a_tie():
    # positives 0.8 and 0.5, negatives 0.5 and 0.1: three pairs won, one tied
    assert compute_auroc([0.8, 0.5, 0.5, 0.1], [1, 1, 0, 0]) == pytest.approx(3.5 / 4)


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=60))
def test_agrees_with_scikit_learn_and_monai(rows):
    scores, labels = np.array([r[0] for r in rows]) / 8, np.array([r[1] for r in rows], float)
    if len(set(labels)) == 1:
        assert np.isnan(compute_auroc(scores, labels))
        return
    assert compute_auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    assert compute_auroc(scores, labels) == pytest.approx(
        compute_roc_auc(torch.tensor(scores)[:, None], torch.tensor(labels)[:, None])
    )


@given(st.integers(0, 10_000))
def test_weights_count_rows_as_repeating_them_does(seed):
    generator = np.random.default_rng(seed)
    scores, labels = generator.integers(0, 10, 40) / 10, generator.integers(0, 2, 40)
    weights = generator.integers(0, 4, (3, 40))
    weighted = compute_auroc(scores, labels, weights=weights)
    for r in range(3):
        repeated = compute_auroc(np.repeat(scores, weights[r]), np.repeat(labels, weights[r]))
        assert weighted[r] == pytest.approx(repeated, nan_ok=True)


def test_rows_without_label_or_score_are_left_out():
    assert compute_auroc([0.9, 0.2, 0.99, np.nan], [1, 0, np.nan, 0]) == 1.0


def test_no_rows_give_nan():
    assert np.isnan(compute_auroc([], []))


def test_uncertain_label_is_refused():
    with pytest.raises(ValueError, match="apply_label_policy"):
        compute_auroc([0.1, 0.2, 0.3], [0, 1, -1])


def test_each_finding_has_its_own_mask():
    scores = np.array([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]])
    labels = np.array([[1, 1], [0, 0], [np.nan, 1]])
    assert compute_finding_aurocs(scores, labels) == pytest.approx([1.0, 0.0])


def test_group_aurocs_agree_with_scikit_learn_one_vs_rest():
    generator = np.random.default_rng(0)
    group = generator.integers(0, 3, 90)
    probabilities = generator.dirichlet([1, 1, 1], 90) + 0.3 * np.eye(3)[group]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    ours = compute_group_aurocs(probabilities, group.astype(float))
    assert ours.mean() == pytest.approx(roc_auc_score(group, probabilities, multi_class="ovr", average="macro"))


def test_patients_of_unknown_group_are_left_out_of_every_group():
    group = np.array([0, 1, 2, 0, 1, 2, np.nan])
    probabilities = np.vstack([np.eye(3)[[0, 1, 2, 0, 1, 2]], [[1, 1, 1]]])
    assert compute_group_aurocs(probabilities, group) == pytest.approx([1, 1, 1])
