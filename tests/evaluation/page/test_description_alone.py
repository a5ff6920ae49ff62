import pandas
import pytest

from biomedjourney_monai.evaluation.page.description_alone import score_descriptions
from biomedjourney_monai.schema import FINDINGS


def journeys_with(prior, new):
    rows = []
    for n, (before, after) in enumerate(zip(prior, new)):
        row = {"journey_id": f"j{n}"} | {f"{side}_{finding}": 0.0 for side in ("prior", "new") for finding in FINDINGS}
        rows.append(row | {"prior_Edema": before, "new_Edema": after})
    return pandas.DataFrame(rows)


def test_what_is_told_and_what_stays_unsaid():
    journeys = journeys_with(prior=[0, 1, 1, 0], new=[1, 0, 1, 0])
    texts = {
        "j0": "New mild pulmonary edema.",
        "j1": "The pulmonary edema has resolved.",
        "j2": "x",
        "j3": "No change.",
    }
    found = score_descriptions(journeys, texts)
    assert found.description == pytest.approx(0.75), "one of two positives is told"
    assert found.with_prior == 1.0


def test_without_descriptions_nothing_is_known():
    assert score_descriptions(journeys_with([0], [1]), {}) is None
    assert score_descriptions(journeys_with([0], [1]), {"j0": "New edema."}) is None, "one class only"
