import re

import numpy as np
import pandas
import pytest
import torch

from biomedjourney_monai.evaluation.judges.scores import JudgeScores
from biomedjourney_monai.evaluation.page.panels import choose_panels, contour_path, headline_of, outline
from biomedjourney_monai.schema import FINDINGS, STRUCTURES


@pytest.fixture
def journeys(baseline_work):
    return pandas.read_parquet(baseline_work / "pairs.parquet")


def test_titles_say_what_changed(journeys):
    chosen = choose_panels(journeys, count=12)
    assert len(chosen) == 12
    assert chosen["journey_id"].is_unique
    for row in chosen.to_dict("records"):
        finding = next((finding for finding in FINDINGS if row["why"].startswith(finding)), None)
        if finding:
            change = row[f"new_{finding}"] - row[f"prior_{finding}"]
            assert change == (1 if row["why"].endswith("appears") else -1)


def test_every_finding_that_changes_is_shown(journeys):
    shown = {why for why in choose_panels(journeys, count=12)["why"] if "appears" in why or "resolves" in why}
    assert len(shown) >= 8


def test_same_seed_same_choice(journeys):
    one, two = (choose_panels(journeys, count=5, seed=4)["journey_id"].tolist() for _ in range(2))
    assert one == two


def test_fewer_journeys_than_wanted_are_all_shown(journeys):
    assert len(choose_panels(journeys.head(3), count=12)) == 3


@pytest.mark.parametrize(
    ("description", "title"),
    [
        ("The left pleural effusion has resolved. New small right pleural effusion.", "Pleural Effusion changes sides"),
        ("The right pneumothorax has increased and is now large.", "Pneumothorax increases"),
        ("Moderate left pleural effusion is unchanged. No pneumothorax.", "No finding changes"),
        ("New mild cardiomegaly. The pulmonary edema has improved, now mild.", "Several changes"),
        ("", "No finding changes"),
    ],
)
def test_a_headline_agrees_with_the_description(description, title):
    assert headline_of(description) == title


def test_a_finding_that_changes_sides_is_a_change(journeys):
    told = dict.fromkeys(journeys["journey_id"], "The left pleural effusion has resolved. New right pleural effusion.")
    titles = choose_panels(journeys, count=len(journeys), descriptions=told)["why"]
    assert "No finding changes" not in set(titles)
    assert "No finding changes" in set(choose_panels(journeys, count=len(journeys))["why"])


def _points(path):
    return np.array(re.findall(r"([\d.]+) ([\d.]+)", path), float)


def test_the_contour_of_a_rectangle_lies_on_its_edge():
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:50] = True
    points = _points(contour_path(mask))
    assert points.min(axis=0) == pytest.approx([20, 10], abs=0.3)
    assert points.max(axis=0) == pytest.approx([50, 30], abs=0.3)


def test_two_parts_are_two_closed_paths_and_specks_are_none():
    mask = np.zeros((40, 40), bool)
    mask[5:15, 5:15] = mask[25:35, 25:35] = True
    assert contour_path(mask).count("M") == contour_path(mask).count("Z") == 2
    speck = np.zeros((40, 40), bool)
    speck[20, 20] = True
    assert contour_path(speck) == "" == contour_path(np.zeros((40, 40), bool))


class BrightIsHeart:
    """A judge that calls what is bright the heart."""

    def score(self, images):
        structures = torch.zeros(len(images), len(STRUCTURES), *images.shape[-2:], dtype=torch.bool)
        structures[:, 2] = images[:, 0] > 0.5
        return JudgeScores(
            torch.zeros(len(images), 5), torch.zeros(len(images), 3), torch.zeros(len(images)), structures
        )


def test_the_references_contours_lie_under_what_is_compared_with_it():
    prior, reference = np.zeros((32, 32), np.float32), np.zeros((32, 32), np.float32)
    prior[5:15, 5:15] = reference[15:25, 15:25] = 1
    images = {"Prior": prior, "Real": reference, "Model": prior}
    items = outline(images, BrightIsHeart(), goal="Real", compared=["Model"], dice={"Model": 0.5})
    by_name = {item.caption: item for item in items}
    assert by_name["Model"].goal == by_name["Real"].paths
    assert by_name["Prior"].goal == by_name["Real"].goal == ()
    assert (by_name["Model"].dice, by_name["Prior"].dice) == (0.5, None)
    assert [bool(path) for path in by_name["Real"].paths] == [n == 2 for n in range(6)]
    assert by_name["Real"].uri.startswith("data:image/png")


def test_what_a_system_made_is_marked_and_real_radiographs_are_not():
    image = np.zeros((96, 96), np.float32)
    items = outline({"Real": image, "Model": image}, BrightIsHeart(), goal="Real", compared=["Model"], dice={})
    assert items[0].uri != items[1].uri
    assert items[1].paths == items[0].paths, "the judge has not seen the mark"
