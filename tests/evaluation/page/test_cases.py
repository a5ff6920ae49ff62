import numpy as np
import pandas
import pytest

from biomedjourney_monai.evaluation.page.cases import list_failures, list_unknown, rank_cases
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
