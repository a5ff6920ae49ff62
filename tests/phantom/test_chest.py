"""The frontal chest: lungs, diaphragm and body, and how findings push them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from biomedjourney_monai.phantom.anatomy import draw_anatomy
from biomedjourney_monai.phantom.chest import (
    RIBS,
    Visit,
    blend_domes,
    dome_top,
    draw_ribs,
    draw_shoulders,
    draw_spine,
    shape_body,
    shape_lung,
    shape_ribs,
    spine_outline,
)
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


def visit_seen_from(*, view_position: str = "PA", size: int = 128, turn: float = 0.0) -> Visit:
    anatomy = draw_anatomy(4, sex="M", age=50, group=0)
    acquisition = replace(draw_acquisition(4, view_position=view_position), turn=turn, shift_x_cm=0.0)
    axes = axes_of(acquisition, size, chest_cm=anatomy.lung_width_cm)
    return Visit(anatomy, acquisition, FindingState(), axes)


def test_ten_rib_pairs_lead_from_back_to_front_and_downward():
    cage = shape_ribs(visit_seen_from())
    assert cage.x.shape[:2] == (2, RIBS)
    assert (cage.x[0] < 0).all()
    assert (cage.x[1] > 0).all()
    assert (cage.z[..., 0] < 0).all()
    assert (cage.y[..., -1] > cage.y[..., 0]).all()
    assert (np.diff(cage.y[0, :, 0]) > 1.5).all()  # one below the other at the spine
    assert (cage.bone[..., -1] == 0).all()  # the front end is cartilage


def test_a_rib_is_longer_than_its_shadow():
    cage = shape_ribs(visit_seen_from())
    shadow = np.hypot(np.diff(cage.x[1, 4]), np.diff(cage.y[1, 4])).sum()
    assert cage.bone[1, 4].sum() + cage.cartilage[1, 4].sum() > shadow


@pytest.mark.parametrize("draw", [draw_ribs, draw_spine, draw_shoulders])
def test_bones_are_thin_finite_and_on_both_sides(draw):
    bone = draw(visit_seen_from())
    assert np.isfinite(bone).all()
    assert bone.dtype == np.float32
    assert bone.min() > -0.05
    assert 0.3 < bone.max() < 6
    assert bone[:, :64].sum() == pytest.approx(bone[:, 64:].sum(), rel=0.3)


def test_turning_moves_the_spine_against_the_front():
    middle = spine_outline(visit_seen_from())
    turned = spine_outline(visit_seen_from(turn=0.06))
    assert np.nonzero(turned)[1].mean() < np.nonzero(middle)[1].mean() - 0.5


def test_the_spines_outline_lies_on_the_drawn_spine():
    visit = visit_seen_from(size=256, turn=0.03)
    bone, outline = draw_spine(visit), spine_outline(visit).astype(bool)

    def share_covered(moved_px: int) -> float:
        return float(bone[np.roll(outline, moved_px, axis=1)].sum() / bone.sum())

    assert share_covered(0) > 0.8
    assert max(share_covered(-6), share_covered(6)) < share_covered(0) - 0.05


def test_scapulae_lie_over_the_lungs_in_a_portable_film():
    pa, ap = visit_seen_from(size=256), visit_seen_from(size=256, view_position="AP")

    def bone_over_lung(visit: Visit) -> float:
        lateral_lung = (np.abs(visit.axes.x) > 9) & (np.abs(visit.axes.x) < 12) & (np.abs(visit.axes.y + 4) < 3)
        return float(draw_shoulders(visit)[lateral_lung].mean())

    assert bone_over_lung(ap) > bone_over_lung(pa) + 0.03
