"""The frontal chest: lungs, diaphragm and body, and how findings push them."""

from __future__ import annotations

import numpy as np
import pytest

from biomedjourney_monai.phantom.anatomy import draw_anatomy
from biomedjourney_monai.phantom.chest import Visit, blend_domes, dome_top, shape_body, shape_lung
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.physics import axes_of, draw_acquisition


def visit_with(size: int = 128, seed: int = 2, **severities: int) -> Visit:
    anatomy, acquisition = draw_anatomy(seed, sex="M", age=60, group=0), draw_acquisition(seed)
    axes = axes_of(acquisition, size, chest_cm=anatomy.lung_width_cm)
    return Visit(anatomy, acquisition, FindingState(**severities), axes)


@pytest.mark.parametrize("side", [-1, 1])
def test_lung_thickness_lies_inside_the_outline_and_is_plausible(side):
    lung = shape_lung(visit_with(), side)
    assert lung.thickness[lung.chamber == 0].max() == 0
    assert 10 < lung.thickness.max() < 20
    assert (lung.u[0, lung.inside.max(axis=0) > 0.5] > 0).all()


def test_the_recess_reaches_below_the_dome():
    lung = shape_lung(visit_with(), -1)
    below = (visit_with().axes.y > lung.dome + 0.5) & (lung.chamber > 0.9)
    assert lung.thickness[below].max() > 0.5
    assert lung.inside[below].max() == 0


def test_lungs_are_as_wide_as_the_anatomy_says():
    visit = visit_with()
    lung = shape_lung(visit, 1)
    widest = lung.u[0, lung.inside.max(axis=0) > 0.5].max()
    breath = 1 + 0.012 * visit.acquisition.inspiration
    assert widest == pytest.approx(visit.anatomy.lung_width_cm * breath, abs=2 * visit.axes.pixel_cm)


def test_atelectasis_lifts_only_its_own_diaphragm():
    healthy, ill = visit_with(), visit_with(atelectasis_left=2)
    assert dome_top(ill, 1) < dome_top(healthy, 1) - 1
    assert dome_top(ill, -1) == dome_top(healthy, -1)


@pytest.mark.parametrize(
    ("severities", "sign"),
    [({"atelectasis_left": 3}, 1), ({"atelectasis_right": 3}, -1), ({"effusion_left": 3}, -1),
     ({"effusion_right": 3}, 1), ({"pneumothorax_left": 3}, -1), ({"pneumothorax_right": 3}, 1), ({}, 0)],
)  # fmt: skip
def test_volume_loss_pulls_and_fluid_or_air_push_the_mediastinum(severities, sign):
    assert np.sign(visit_with(**severities).mediastinal_shift) == sign


def test_dome_at_reads_the_same_curve_on_both_sides():
    visit = visit_with()
    for side in (-1, 1):
        lung = shape_lung(visit, side)
        column = int(np.abs(lung.u[0] - 6.0).argmin())
        assert lung.dome_at(lung.u[0, column]) == pytest.approx(lung.dome[0, column], abs=1e-4)


def test_the_whole_diaphragm_joins_without_a_step():
    visit = visit_with(256)
    dome = blend_domes(visit.axes, (shape_lung(visit, -1), shape_lung(visit, 1)))
    assert np.abs(np.diff(dome[0])).max() < 0.25


def test_body_is_thickest_in_the_middle_and_empty_beside():
    visit = visit_with()
    body = shape_body(visit)
    row = np.abs(visit.axes.y[:, 0] - 4).argmin()
    middle = np.abs(visit.axes.x[0]).argmin()
    assert body[row, middle] == pytest.approx(visit.anatomy.depth_cm, rel=0.02)
    assert body.min() >= 0
    assert body[0, 0] < 3  # the corner beside the neck
