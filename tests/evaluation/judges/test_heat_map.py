"""The map adds up to what it explains, and lies where the renderer drew the finding."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from biomedjourney_monai.evaluation.judges.heat_map import change_map, draw_heat_map
from biomedjourney_monai.evaluation.judges.loading import load_judges
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.truth import render_counterfactual
from biomedjourney_monai.schema import FINDINGS

MODELS = Path(__file__).parents[3] / "bundle" / "models"


def test_a_linear_judge_is_explained_exactly():
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(2, 16, generator=generator)
    before, after = torch.rand(2, 1, 1, 4, 4, generator=generator)
    maps = change_map(lambda images: images.flatten(1) @ weights.T, before, after, columns=[1, 0], points=1)
    expected = (weights.flip(0) * (after - before).flatten()).reshape(2, 4, 4)
    torch.testing.assert_close(maps, expected)


def test_a_square_is_explained_on_the_whole_way():
    before, after = torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 3.0]]]])
    (found,) = change_map(lambda images: (images**2).flatten(1).sum(1, keepdim=True), before, after, columns=[0])
    torch.testing.assert_close(found, torch.tensor([[1.0, 9.0]]))


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 1, 4, 4), (1, 3, 4, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="images must be of shape"):
        change_map(lambda images: images, torch.zeros(shape), torch.zeros(shape), columns=[0])


@pytest.fixture(scope="module")
def judges():
    return load_judges(MODELS)


def render(**findings):
    patient = draw_patient(7, 0, stream="heat")
    state = FindingState(**findings)
    image = render_counterfactual(patient, patient.visits[0], state, size=128, view_position="PA").image
    return torch.from_numpy(image.astype("float32"))[None, None]


CASES = {
    "Pleural Effusion": ({"effusion_left": 2}, (slice(64, None), slice(64, None))),  # the patient's left is image right
    "Pneumothorax": ({"pneumothorax_right": 2}, (slice(None), slice(None, 64))),
    "Atelectasis": ({"atelectasis_left": 3}, (slice(48, None), slice(64, None))),
}


@pytest.mark.parametrize("finding", CASES)
@pytest.mark.parametrize("appears", [True, False])
def test_the_map_lies_where_the_finding_is_and_has_the_sign_of_the_change(judges, finding, appears):
    state, where = CASES[finding]
    before, after = (render(), render(**state)) if appears else (render(**state), render())
    column = FINDINGS.index(finding)
    (found,) = change_map(judges.finding_logits, before, after, columns=[column])
    with torch.no_grad():
        change = float((judges.finding_logits(after) - judges.finding_logits(before))[0, column])
    assert (change > 0) == appears
    assert float(found.sum()) == pytest.approx(change, rel=0.1)
    assert float(found[where].sum()) / change > 0.8


class Left:
    """A judge whose second finding is the sum of the left half, and whose third is minus that; the others are 0."""

    def finding_logits(self, images):
        total = images[:, 0, :, : images.shape[-1] // 2].sum(dim=(1, 2))
        return (total[:, None] * total.new_tensor([0, 1, -0.5, 0, 0])).contiguous()


@pytest.fixture
def pair():
    prior, after = np.full((64, 64), 0.5, np.float32), np.full((64, 64), 0.5, np.float32)
    after[20:40, 10:20] = after[20:40, 44:54] = 0.75
    return prior, after


def _pixels(heat):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(heat.uri.split(",")[1])))).astype(int)


def test_only_what_moves_the_judge_is_coloured(pair):
    heat = draw_heat_map(*pair, Left(), finding="Cardiomegaly")
    red = _pixels(heat)[..., 0] - _pixels(heat)[..., 2]
    assert red[30, 15] > 100
    assert red[30, 49] == 0, "the judge does not look at the right half"
    assert heat.change == pytest.approx(0.25 * 200, rel=1e-3), "the map's sum is the change of the logit"


def test_what_lowers_the_logit_is_blue(pair):
    red = _pixels(draw_heat_map(*pair, Left(), finding="Edema"))
    assert red[30, 15, 2] - red[30, 15, 0] > 100


def test_without_a_finding_it_is_the_one_that_changes_most(pair):
    assert draw_heat_map(*pair, Left(), finding=None).finding == "Cardiomegaly" == FINDINGS[1]


def test_an_unchanged_picture_has_an_uncoloured_map(pair):
    pixels = _pixels(draw_heat_map(pair[0], pair[0], Left(), finding="Edema"))
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_judges_without_slopes_give_no_map(pair):
    assert draw_heat_map(*pair, object(), finding=None) is None
