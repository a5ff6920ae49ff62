import base64
import io

import numpy as np
import pytest
from PIL import Image

from biomedjourney_monai.evaluation.page.heat import draw_heat_map
from biomedjourney_monai.schema import FINDINGS


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
