from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.evaluation.judges.lung_outlines import (
    LungOutlines,
    OutlineNetwork,
    clean_outlines,
    load_lung_outlines,
)
from biomedjourney_monai.phantom.anatomy import draw_anatomy
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.physics import draw_acquisition
from biomedjourney_monai.phantom.render import lung_fields, render
from biomedjourney_monai.radiographs import load_radiograph
from biomedjourney_monai.radiographs.scaling import letterbox

LUNG_MASKS = Path(__file__).parents[3] / ".." / "shared" / "lung-masks"


def test_each_structure_keeps_its_largest_part_without_holes():
    shares = np.zeros((3, 40, 40), np.float32)
    shares[0, 5:35, 22:35] = 0.9
    shares[0, 15:18, 26:30] = 0.1  # a hole
    shares[0, 2:4, 2:4] = 0.9  # a stray part
    shares[1, 5:35, 5:24] = 0.7  # overlaps the left field, and is less sure
    shares[0, 20, 35:40] = 0.9  # a spur
    left, right, heart = clean_outlines(shares)
    assert abs(left.sum() - 30 * 13) < 10 and left[16, 28] and not left[3, 3] and not left[20, 37]
    assert abs(right.sum() - 30 * 17) < 10 and not (left & right).any()
    assert not heart.any()


def test_outlines_have_the_size_of_the_images():
    found = LungOutlines(OutlineNetwork().eval(), "").outline(torch.rand(2, 1, 96, 96))
    assert found.shape == (2, 3, 96, 96) and found.dtype == bool


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match="lung_outlines"):
        load_lung_outlines(tmp_path)


@pytest.mark.parametrize("state", [{}, {"effusion_left": 2}, {"pneumothorax_right": 2}], ids=str)
def test_the_shipped_weights_outline_rendered_films(state):
    findings = FindingState(**state)
    anatomy, acquisition = draw_anatomy(11, sex="M", age=60, group=1), draw_acquisition(12)
    image = render(anatomy, acquisition, findings, size=128).image
    wanted = lung_fields(anatomy, acquisition, findings, size=128).astype(bool)
    found = load_lung_outlines().outline(torch.from_numpy(image)[None, None])[0, :2]
    for side in (0, 1):
        assert dice(found[side], wanted[side]) > 0.85


@pytest.mark.skipif(not LUNG_MASKS.is_dir(), reason="needs ../shared/lung-masks")
def test_the_shipped_weights_outline_real_films():
    files = sorted((LUNG_MASKS / "images").glob("*.png"))[::4]
    outlines, scores = load_lung_outlines(), []
    for file in files:
        image = load_radiograph(file, size=128)
        drawn = cv2.imread(str(LUNG_MASKS / "masks" / file.name), cv2.IMREAD_GRAYSCALE).astype(np.float32)
        found = outlines.outline(torch.from_numpy(image)[None, None])[0, :2].any(axis=0)
        scores.append(dice(found, letterbox(drawn, size=128)[0] > 127))
    assert np.mean(scores) >= 0.89 and np.percentile(scores, 5) >= 0.80


def dice(one, other):
    return 2 * (one & other).sum() / max(one.sum() + other.sum(), 1)
