import pandas
import pytest

from biomedjourney_monai.evaluation.page.journeys import chains, draw_strips
from biomedjourney_monai.evaluation.systems.sources import read_counterfactuals


@pytest.fixture
def journeys(work):
    """One patient with three journeys in a row, one with two that do not meet, one with one."""
    pairs = pandas.read_parquet(work / "pairs.parquet").iloc[[0, 1, 2, 3, 4, 6]].reset_index(drop=True)
    pairs["subject_id"] = ["a", "a", "a", "b", "b", "c"]
    pairs["prior_study_id"] = ["1", "3", "2", "5", "8", "9"]
    pairs["new_study_id"] = ["2", "4", "3", "6", "9", "10"]
    pairs["days_between"] = [10.0, 30.0, 20.0, 1.0, 1.0, 1.0]
    return pairs


def test_journeys_meet_end_to_end_in_order_of_time(journeys):
    (chain,) = chains(journeys, seed=0)
    assert [row["new_study_id"] for row in chain] == ["2", "3", "4"]


def test_a_strip_has_one_picture_more_than_journeys_and_days_add_up(work, journeys):
    (strip,) = draw_strips(journeys, read_counterfactuals(work / "samples"), work=work, count=3, seed=0)
    assert [visit.day for visit in strip] == [0, 10, 30, 60]
    assert strip[0].counterfactual == "" and all(visit.counterfactual for visit in strip[1:])
    assert [visit.description for visit in strip[1:]] == [f"New <b>effusion</b> number {n}." for n in (0, 2, 1)]


def test_without_counterfactuals_there_are_no_strips(work, journeys):
    assert draw_strips(journeys, None, work=work, count=3, seed=0) == []


def test_a_circle_in_the_tables_ends(journeys):
    journeys.loc[1, "new_study_id"] = "2"
    assert len(chains(journeys, seed=0)[0]) <= 3
