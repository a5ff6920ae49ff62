import re

import numpy as np
import pytest
import torch

from biomedjourney_monai.evaluation.judges.scores import JudgeScores
from biomedjourney_monai.evaluation.page.anatomy import contour_path, outline
from biomedjourney_monai.schema import STRUCTURES


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
