import numpy as np
import pytest
import torch

from biomedjourney_monai.evaluation.judges.judged import Batch, Judged
from biomedjourney_monai.evaluation.judges.scores import JudgeScores
from biomedjourney_monai.evaluation.metrics.target_change import TargetChange, target_region
from biomedjourney_monai.evaluation.systems.asked_findings import AskedFinding
from biomedjourney_monai.schema import FINDINGS, STRUCTURES

SIDE = 50


def _structures():
    """Right lung in image left, left lung in image right, heart between, diaphragm below both."""
    masks = np.zeros((6, SIDE, SIDE), bool)
    masks[STRUCTURES.index("right lung"), 10:30, 5:18] = True
    masks[STRUCTURES.index("left lung"), 10:30, 32:45] = True
    masks[STRUCTURES.index("heart"), 20:34, 20:30] = True
    masks[STRUCTURES.index("facies diaphragmatica"), 34:38, 5:45] = True
    return masks


def test_an_effusions_region_reaches_from_the_lung_to_its_half_of_the_diaphragm():
    region = target_region(_structures(), [("Pleural Effusion", "left")])
    assert region[8:40, 30:47].all()  # lung, the gap below it, diaphragm, and a margin of 2 px
    assert region[32, 38]
    assert not region[:, :22].any()


@pytest.mark.parametrize(
    "targets, inside, outside",
    [
        ([("Pneumothorax", "right")], (20, 10), (20, 40)),
        ([("Edema", "")], (20, 10), (5, 25)),
        ([("Edema", "")], (20, 40), (5, 25)),
        ([("Cardiomegaly", "")], (25, 25), (20, 40)),
    ],
)
def test_each_finding_has_its_anatomy(targets, inside, outside):
    region = target_region(_structures(), targets)
    assert region[inside]
    assert not region[outside]


def test_no_target_no_region():
    assert not target_region(_structures(), []).any()


def _judged(images):
    count = len(images)
    masks = torch.from_numpy(np.stack([_structures()] * count))
    scores = JudgeScores(torch.zeros(count, 5), torch.zeros(count, 3), torch.zeros(count), masks)
    return Judged("x", images, scores, np.ones(count, bool))


def _measure(requests, image, labels=None):
    prior = torch.full((1, 1, SIDE, SIDE), 0.5)
    rows = [{"journey_id": "a", **{f"prior_{finding}": 0.0 for finding in FINDINGS}, **(labels or {})}]
    batch = Batch(rows, prior=_judged(prior), reference=_judged(prior), judges=None)
    measure = TargetChange(requests)
    measure.begin(batch)
    return dict(zip(measure.columns, measure.measure(_judged(image), batch)[0]))


def test_change_inside_and_outside_by_hand():
    requests = {"a": {"Pleural Effusion": AskedFinding({"left": 2})}}
    image = torch.full((1, 1, SIDE, SIDE), 0.5)
    image[0, 0, 20, 38] = 0.9  # in the left lung
    image[0, 0, 20, 10] = 0.4  # in the right one
    region = target_region(_structures(), [("Pleural Effusion", "left")])
    found = _measure(requests, image)
    assert found["change_outside overall"] == pytest.approx(0.1 / (~region).sum())
    assert found["change_outside_share overall"] == pytest.approx(0.1 / 0.5)
    assert found["change_at Pleural Effusion"] == pytest.approx(0.4 / region.sum())
    assert np.isnan(found["change_at Edema"])


def test_where_nothing_is_to_change_all_change_is_outside():
    requests = {"a": {"Edema": AskedFinding({"": 2}, unchanged=frozenset([""]))}}
    image = torch.full((1, 1, SIDE, SIDE), 0.6)
    found = _measure(requests, image, {"prior_Edema": 1.0})
    assert found["change_outside overall"] == pytest.approx(0.1)
    assert np.isnan(found["change_outside_share overall"])


def test_what_was_there_before_is_no_onset_and_an_unknown_request_says_nothing():
    requests = {"a": {"Edema": AskedFinding({"": 3})}}
    image = torch.full((1, 1, SIDE, SIDE), 0.6)
    assert np.isnan(_measure(requests, image, {"prior_Edema": 1.0})["change_at Edema"])
    assert np.isfinite(_measure(requests, image, {"prior_Edema": np.nan})["change_at Edema"])
    assert all(np.isnan(value) for value in _measure({}, image).values())
