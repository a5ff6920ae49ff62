from itertools import combinations, pairwise

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from biomedjourney_monai.phantom.disease import draw_course
from biomedjourney_monai.phantom.patients import draw_patient, split_of
from biomedjourney_monai.schema import FINDINGS


@pytest.fixture(scope="module")
def journeys():
    """Findings before and after, of 3000 patients of a cohort."""
    pairs = []
    for index in range(3000):
        visits = draw_patient(17, index).visits
        pairs += [(prior.findings, new.findings) for prior, new in pairwise(visits)]
    return pairs


def labels_of(states):
    return np.array([[state.labels()[finding] for finding in FINDINGS] for state in states])


def score_copying(pairs):
    prior, new = (labels_of(states) for states in zip(*pairs))
    return [roc_auc_score(new[:, column], prior[:, column]) for column in range(5)]


def test_copying_the_prior_labels_predicts_little(journeys):
    scores = score_copying(journeys)
    assert np.mean(scores) <= 0.60  # the bar is 0.62
    assert max(scores) <= 0.62
    assert min(scores) > 0.52  # some disease is chronic


@pytest.mark.parametrize("seed", [7, 17])
@pytest.mark.parametrize("choose", [pairwise, lambda visits: combinations(visits, 2)], ids=["next", "all later"])
def test_copying_the_prior_labels_predicts_little_on_test_journeys(seed, choose):
    patients = [draw_patient(seed, index) for index in range(10_000) if split_of(index) == "test"]
    pairs = [(a.findings, b.findings) for patient in patients for a, b in choose(patient.visits)]
    assert len(patients) == 1000
    assert 0.5 < np.mean(score_copying(pairs)) <= 0.62


def test_each_finding_is_common_but_not_the_rule(journeys):
    prevalence = labels_of([new for _, new in journeys]).mean(axis=0)
    assert (prevalence > 0.25).all() and (prevalence < 0.40).all()


def test_findings_of_heart_failure_come_together(journeys):
    correlation = np.corrcoef(labels_of([new for _, new in journeys]).T)
    cardiomegaly, edema, effusion = 1, 2, 3
    assert (
        min(correlation[cardiomegaly, edema], correlation[edema, effusion], correlation[cardiomegaly, effusion]) > 0.15
    )


def test_atelectasis_prefers_the_side_of_the_effusion(journeys):
    states = [new for _, new in journeys]
    one_sided = [s for s in states if bool(s.effusion_left) != bool(s.effusion_right)]
    same = sum(bool(s.atelectasis_left if s.effusion_left else s.atelectasis_right) for s in one_sided)
    other = sum(bool(s.atelectasis_right if s.effusion_left else s.atelectasis_left) for s in one_sided)
    assert same > 1.8 * other


def test_no_side_holds_both_much_fluid_and_much_air(journeys):
    for _, state in journeys:
        assert not (state.effusion_left == 3 and state.pneumothorax_left > 1)
        assert not (state.effusion_right == 3 and state.pneumothorax_right > 1)


def test_sides_are_even_and_all_severities_occur(journeys):
    states = [new for _, new in journeys]
    for name in ("atelectasis", "effusion", "pneumothorax"):
        left = np.array([getattr(s, f"{name}_left") for s in states])
        right = np.array([getattr(s, f"{name}_right") for s in states])
        assert 0.85 < (left > 0).sum() / (right > 0).sum() < 1.18
        assert set(left) == {0, 1, 2, 3}


def test_change_grows_with_time():
    def share_kept(days):
        rng = np.random.default_rng(3)
        courses = [draw_course(rng, [0.0, days]) for _ in range(1500)]
        return np.mean([prior.edema > 0 and prior.edema == new.edema for prior, new in courses])

    assert share_kept(1.0) > share_kept(1000.0) + 0.01
