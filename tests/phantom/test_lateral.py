"""The lateral view."""

from __future__ import annotations

import numpy as np
import pytest

from biomedjourney_monai.phantom.anatomy import draw_anatomy
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.physics import draw_acquisition
from biomedjourney_monai.phantom.render import render


def _render(**severities: int):
    anatomy = draw_anatomy(4, sex="M", age=50, group=0)
    acquisition = draw_acquisition(4, view_position="LATERAL")
    return render(anatomy, acquisition, FindingState(**severities), size=128, with_masks=True)


def test_the_spine_is_behind_and_the_heart_in_front():
    masks = _render().masks
    lung, heart, spine = (np.nonzero(masks[k])[1].mean() for k in (0, 2, 5))
    assert spine < lung < heart
    assert np.array_equal(masks[0], masks[1])  # both lungs lie over each other


def test_a_lateral_looks_unlike_a_frontal_view():
    anatomy = draw_anatomy(4, sex="M", age=50, group=0)
    frontal = render(anatomy, draw_acquisition(4), FindingState(), size=128).image
    assert np.corrcoef(_render().image.ravel(), frontal.ravel())[0, 1] < 0.7


@pytest.mark.parametrize(
    "finding", ["atelectasis_left", "cardiomegaly", "edema", "effusion_right", "pneumothorax_left"]
)
def test_findings_show_and_grow(finding):
    healthy = _render().image
    change = [np.abs(_render(**{finding: s}).image - healthy).sum() for s in (1, 2, 3)]
    assert 5 < change[0] < change[1] < change[2]


def test_masks_fit_what_is_drawn():
    result = _render()
    image, masks = result.image, result.masks.astype(bool)
    lung, heart, diaphragm, spine = masks[0], masks[2], masks[3], masks[5]
    assert image[lung & ~spine].mean() + 0.06 < image[heart].mean()
    assert image[lung].mean() + 0.3 < image[diaphragm].mean()
    below = np.roll(lung, 6, axis=0) & ~lung  # moved down, the lungs' mask covers the bright abdomen
    assert image[below].mean() > image[lung].mean() + 0.15
