import numpy as np
import pandas
import pytest

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.evaluation.page.journeys import chains, draw_delta, draw_deltas, draw_strips
from biomedjourney_monai.evaluation.systems.sources import read_counterfactuals
from biomedjourney_monai.radiographs import save_png


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


@pytest.fixture
def registered(work):
    """Three pairs that were moved by 0, 3 and 9 pixels; each new image is its prior moved right, before."""
    pairs = pandas.read_parquet(work / "pairs.parquet").iloc[:3].copy()
    pairs["shift_x_px"], pairs["new_dicom_id"] = [3.0, 0.0, 9.0], ["a", "b", "c"]
    prior = np.random.default_rng(0).random((32, 32))
    for row in pairs.to_dict("records"):
        save_png(work / row["prior_image"], prior)
        save_png(work / row["new_image"], prior)
        save_png(work / row["valid_mask"], np.ones((32, 32), bool))
        save_png(work / "images" / f"{row['new_dicom_id']}.png", np.roll(prior, int(row["shift_x_px"]), axis=1))
    return work, pairs


def test_least_usual_and_most_are_shown(registered):
    work, pairs = registered
    deltas = draw_deltas(pairs, work=work)
    assert [delta.facts.split(",")[0] for delta in deltas] == ["shift +0", "shift +3", "shift +9"]
    assert [caption for caption, _ in deltas[0].pictures].count("Difference") == 2


def test_what_registration_gains_is_said_in_numbers(registered):
    work, pairs = registered
    least, _, most = draw_deltas(pairs, work=work)
    assert least.before == least.after == 0
    assert most.before > 0.2 and most.after == 0


def test_pairs_that_nobody_registered_have_no_section(registered):
    work, pairs = registered
    assert draw_deltas(pairs.assign(shift_x_px=0.0), work=work) == []
    assert draw_deltas(pairs.assign(shift_x_px=""), work=work) == []


def test_a_picture_that_is_missing_is_passed_over(registered):
    work, pairs = registered
    (work / "images" / "b.png").unlink()
    with pytest.raises(ImageError):
        draw_delta("x", pairs.iloc[1].to_dict(), work=work)
    assert draw_deltas(pairs, work=work)[0].facts.startswith("shift +3")
