import json
import math

import numpy as np
import pytest
import torch

from biomedjourney_monai.evaluation.judges.film_classifier import load_film_judges
from biomedjourney_monai.evaluation.judges.phantom import load_phantom_judges
from biomedjourney_monai.evaluation.judges.trusted import (
    agreement_of,
    auroc_error,
    read_trusted,
    shown_pathology,
    trusted_findings,
)
from biomedjourney_monai.schema import FINDINGS

WEIGHTS = {"site_classifier.pt": "a" * 64}


def facts(**changes):
    """What a judge that tells every finding measured on 800 films; `changes` replace marks of Cardiomegaly."""
    marks = {}
    for finding in FINDINGS:
        marks |= {f"auroc {finding}": 0.8, f"calibration error {finding}": 0.1, f"positives {finding}": 60}
    marks |= {f"{name.replace('_', ' ')} Cardiomegaly": value for name, value in changes.items()}
    return {"files": dict(WEIGHTS), "films": {"test": 800}, "performance": {"test": marks}}


def test_what_is_calibrated_and_better_than_chance_is_trusted():
    assert trusted_findings(facts(), WEIGHTS) == set(FINDINGS)


@pytest.mark.parametrize(
    "changes",
    [
        {"auroc": 0.5},
        {"auroc": 0.55},
        {"calibration_error": 0.45},
        {"positives": 5},
        {"positives": 795},
        {"auroc": math.nan},
        {"calibration_error": math.nan},
    ],
)
def test_a_finding_at_chance_uncalibrated_or_on_few_films_is_not(changes):
    assert trusted_findings(facts(**changes), WEIGHTS) == set(FINDINGS) - {"Cardiomegaly"}


def test_each_finding_goes_by_the_split_with_more_films_of_it():
    both = facts()
    poor = facts(auroc=0.4, positives=12)["performance"]["test"]
    both |= {"films": {"test": 800, "validate": 800}, "performance": {**both["performance"], "validate": poor}}
    assert "Cardiomegaly" in trusted_findings(both, WEIGHTS)
    both["performance"]["test"]["positives Cardiomegaly"] = 11
    assert "Cardiomegaly" not in trusted_findings(both, WEIGHTS)


def test_facts_about_other_weights_or_none_prove_nothing(tmp_path):
    assert trusted_findings(facts(), {"site_classifier.pt": "b" * 64}) == frozenset()
    assert trusted_findings({}, WEIGHTS) == frozenset()
    assert read_trusted(tmp_path / "none.json", WEIGHTS) == frozenset()
    (tmp_path / "list.json").write_text("[]")
    assert read_trusted(tmp_path / "list.json", WEIGHTS) == frozenset()


def test_the_standard_error_of_an_auroc():
    assert auroc_error(0.5, 50, 50) == pytest.approx(math.sqrt((2 * 50 + 1) / (12 * 50 * 50)), rel=0.01)  # Mann-Whitney
    assert auroc_error(1.0, 50, 50) == 0


def test_a_probability_that_is_not_trusted_is_not_shown(bundle):
    judges, images = load_phantom_judges(bundle / "models"), torch.rand(2, 1, 128, 128)
    assert np.isfinite(shown_pathology(judges, images)).all()
    judges.trusted = frozenset({"Edema"})
    assert np.isfinite(shown_pathology(judges, images)).sum(axis=0).tolist() == [2 * (f == "Edema") for f in FINDINGS]


def test_the_shipped_judges_of_films_go_by_what_was_measured_of_them(bundle):
    models = bundle / "models"
    marks = json.loads((models / "chestxray14_judges.json").read_text())["performance"]
    trusted = load_film_judges(models, "chestxray14").trusted
    assert trusted, "each file of facts must name the weights beside it, and the films with each finding"
    for finding in trusted:
        assert max(split[f"auroc {finding}"] for split in marks.values()) > 0.5


def test_agreement_is_the_share_on_the_side_of_the_majority():
    scores = np.array([[0.9, 0.1], [0.8, 0.6], [0.7, 0.2], [0.2, 0.3]])
    found = agreement_of(scores, findings=("A", "B"))
    assert found["A"]["agreement"] == 0.75
    assert found["B"]["agreement"] == 0.75
    assert found["A"]["mean"] == pytest.approx(0.65)
    assert found["A"]["deviation"] == pytest.approx(np.std(scores[:, 0], ddof=1), abs=1e-4)
    assert (found["B"]["lowest"], found["B"]["highest"]) == (0.1, 0.6)


def test_one_sample_agrees_with_itself():
    found = agreement_of(np.array([[0.3]]), findings=("A",))["A"]
    assert (found["agreement"], found["deviation"]) == (1.0, 0.0)


@pytest.mark.parametrize("shape", [(0, 5), (3, 4), (5,)])
def test_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="must be of shape"):
        agreement_of(np.zeros(shape))
