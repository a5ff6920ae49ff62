import numpy as np
import pandas
import pytest

from biomedjourney_monai.evaluation.page.cases import list_failures, list_unknown, rank_cases, score_descriptions
from biomedjourney_monai.schema import FINDINGS


@pytest.fixture
def journeys():
    table = pandas.DataFrame({f"new_{finding}": [1.0, 1.0, 1.0, -1.0] for finding in FINDINGS})
    return table.assign(journey_id=["a", "b", "c", "d"], **{f"prior_{finding}": 0.0 for finding in FINDINGS})


@pytest.fixture
def scores():
    table = pandas.DataFrame({f"pathology {finding}": [0.5, 0.9, np.nan, 0.1] for finding in FINDINGS})
    return table.assign(journey_id=["b", "a", "c", "d"])


def test_cases_are_ordered_from_best_to_worst(journeys, scores):
    ranked = rank_cases(journeys, scores)
    assert list(ranked["journey_id"]) == ["a", "b"], "c was not scored and d has only labels in doubt"
    assert list(ranked["distance"]) == pytest.approx([0.1, 0.5])


def test_journeys_without_a_change_are_too_easy_to_be_ranked(journeys, scores):
    for finding in FINDINGS:
        journeys.loc[0, f"prior_{finding}"] = 1.0
    assert list(rank_cases(journeys, scores)["journey_id"]) == ["b"]


def _metrics():
    unknown = {"value": None, "low": None, "high": None, "count": 0, "note": "only one class"}
    known = {"value": 1.0, "low": 0.9, "high": 1.0, "count": 1, "note": ""}
    return {
        "counts": {"dropped": {"low score": 2}},
        "systems": [
            {
                "name": "one",
                "failures": {"no image": 1, "NaN": 3},
                "resized": 4,
                "unmatched": 0,
                "metrics": {"a": {"overall": unknown}, "b": {"overall": known}},
            },
            {"name": "two", "failures": {}, "metrics": {"a": {"overall": unknown}}},
        ],
    }


def test_failures_are_listed_by_place_and_reason_with_the_most_frequent_first():
    rows = list_failures(_metrics())
    assert rows[0] == ("journeys", "low score", 2)
    assert [(place, count) for place, _, count in rows[1:]] == [("one", 4), ("one", 3), ("one", 1)]


def test_numbers_that_are_unknown_are_listed_once_with_their_reason():
    assert list_unknown(_metrics()) == [("a", "only one class", ["one", "two"])]


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
