import numpy as np
import pytest
import torch

from biomedjourney_monai.evaluation.judges.judged import Batch, Judged
from biomedjourney_monai.evaluation.judges.scores import JudgeScores
from biomedjourney_monai.evaluation.metrics.sides import SideCorrectness, is_side_correct, only_half
from biomedjourney_monai.evaluation.systems.asked_findings import AskedFinding
from biomedjourney_monai.schema import FINDINGS


class SeesBrightness:
    """A judge for whom a bright spot is an effusion, wherever it is."""

    def score(self, images):
        seen = images.amax(dim=(1, 2, 3))[:, None].expand(-1, 5)
        nothing = torch.zeros((len(images), 6, *images.shape[-2:]), dtype=torch.bool)
        return JudgeScores(seen, torch.full((len(images), 3), 1 / 3), torch.zeros(len(images)), nothing)


def _judged(images, judges):
    return Judged("x", images, judges.score(images), np.ones(len(images), bool))


def _batch(prior, rows):
    judges = SeesBrightness()
    prior = _judged(prior, judges)
    return Batch(rows, prior=prior, reference=prior, judges=judges)


def _row(name):
    return {"journey_id": name, **{f"prior_{finding}": 0.0 for finding in FINDINGS}}


def test_the_patients_left_is_image_right():
    image, prior = torch.ones((1, 1, 8, 20)), torch.zeros((1, 1, 8, 20))
    left = only_half("left", image, prior)
    assert left[..., :7].sum() == 0
    assert (left[..., 13:] == 1).all()
    torch.testing.assert_close(only_half("right", image, prior) + left, image)


@pytest.mark.parametrize(
    "named, other, before, expected",
    [
        (0.9, 0.1, 0.1, True),
        (0.4, 0.1, 0.1, False),  # not seen
        (0.9, 0.3, 0.1, False),  # rises on the other side
        (0.9, 0.55, 0.46, False),  # seen on the other side
        (0.9, 0.65, 0.6, True),  # was seen before
        (0.6, 0.6, 0.7, False),  # does not rise
    ],
)
def test_the_rule_by_hand(named, other, before, expected):
    assert is_side_correct(*(np.array([value]) for value in (named, other, before)))[0] == expected


def test_an_image_with_the_finding_on_the_named_side_is_correct_and_one_with_it_opposite_is_not():
    requests = {
        "a": {"Pleural Effusion": AskedFinding({"left": 2})},
        "b": {"Pleural Effusion": AskedFinding({"left": 2})},
    }
    prior = torch.full((2, 1, 16, 20), 0.1)
    images = prior.clone()
    images[0, 0, 8, 17] = 0.9  # image right is the patient's left
    images[1, 0, 8, 2] = 0.9
    measure, batch = SideCorrectness(requests), _batch(prior, [_row("a"), _row("b")])
    measure.begin(batch)
    values = measure.measure(_judged(images, batch.judges), batch)
    effusion = measure.columns.index("side_correct Pleural Effusion")
    assert values[:, effusion].tolist() == [1, 0]
    assert values[:, 0].tolist() == [1, 0]
    assert np.isnan(values[:, [n for n in range(4) if n not in (0, effusion)]]).all()


def test_mirroring_an_image_turns_correct_into_wrong():
    requests = {"a": {"Pneumothorax": AskedFinding({"right": 1})}}
    prior = torch.full((1, 1, 16, 20), 0.1)
    image = prior.clone()
    image[0, 0, 4, 3] = 0.8
    measure, batch = SideCorrectness(requests), _batch(prior, [_row("a")])
    measure.begin(batch)
    assert measure.measure(_judged(image, batch.judges), batch)[0, 0] == 1
    assert measure.measure(_judged(image.flip(-1), batch.judges), batch)[0, 0] == 0


def test_a_journey_without_such_a_request_or_without_a_prior_is_unknown():
    requests = {"b": {"Pneumothorax": AskedFinding({"right": 1})}}
    prior = torch.full((2, 1, 16, 20), 0.1)
    batch = _batch(prior, [_row("a"), _row("b")])
    batch.prior.good[1] = False
    measure = SideCorrectness(requests)
    measure.begin(batch)
    assert np.isnan(measure.measure(_judged(prior, batch.judges), batch)).all()
