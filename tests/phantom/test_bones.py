"""Ribs, spine and shoulders from the front."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from biomedjourney_monai.phantom.anatomy import draw_anatomy
from biomedjourney_monai.phantom.bones import RIBS, draw_ribs, draw_shoulders, draw_spine, shape_ribs, spine_outline
from biomedjourney_monai.phantom.chest import Visit
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.physics import axes_of, draw_acquisition


def visit_with(*, view_position: str = "PA", size: int = 128, turn: float = 0.0) -> Visit:
    anatomy = draw_anatomy(4, sex="M", age=50, group=0)
    acquisition = replace(draw_acquisition(4, view_position=view_position), turn=turn, shift_x_cm=0.0)
    axes = axes_of(acquisition, size, chest_cm=anatomy.lung_width_cm)
    return Visit(anatomy, acquisition, FindingState(), axes)


def test_ten_rib_pairs_lead_from_back_to_front_and_downward():
    cage = shape_ribs(visit_with())
    assert cage.x.shape[:2] == (2, RIBS)
    assert (cage.x[0] < 0).all()
    assert (cage.x[1] > 0).all()
    assert (cage.z[..., 0] < 0).all()
    assert (cage.y[..., -1] > cage.y[..., 0]).all()
    assert (np.diff(cage.y[0, :, 0]) > 1.5).all()  # one below the other at the spine
    assert (cage.bone[..., -1] == 0).all()  # the front end is cartilage


def test_a_rib_is_longer_than_its_shadow():
    cage = shape_ribs(visit_with())
    shadow = np.hypot(np.diff(cage.x[1, 4]), np.diff(cage.y[1, 4])).sum()
    assert cage.bone[1, 4].sum() + cage.cartilage[1, 4].sum() > shadow


@pytest.mark.parametrize("draw", [draw_ribs, draw_spine, draw_shoulders])
def test_bones_are_thin_finite_and_on_both_sides(draw):
    bone = draw(visit_with())
    assert np.isfinite(bone).all()
    assert bone.dtype == np.float32
    assert bone.min() > -0.05
    assert 0.3 < bone.max() < 6
    assert bone[:, :64].sum() == pytest.approx(bone[:, 64:].sum(), rel=0.3)


def test_turning_moves_the_spine_against_the_front():
    middle = spine_outline(visit_with())
    turned = spine_outline(visit_with(turn=0.06))
    assert np.nonzero(turned)[1].mean() < np.nonzero(middle)[1].mean() - 0.5


def test_the_spines_outline_lies_on_the_drawn_spine():
    visit = visit_with(size=256, turn=0.03)
    bone, outline = draw_spine(visit), spine_outline(visit).astype(bool)

    def share_covered(moved_px: int) -> float:
        return float(bone[np.roll(outline, moved_px, axis=1)].sum() / bone.sum())

    assert share_covered(0) > 0.8
    assert max(share_covered(-6), share_covered(6)) < share_covered(0) - 0.05


def test_scapulae_lie_over_the_lungs_in_a_portable_film():
    pa, ap = visit_with(size=256), visit_with(size=256, view_position="AP")

    def bone_over_lung(visit: Visit) -> float:
        lateral_lung = (np.abs(visit.axes.x) > 9) & (np.abs(visit.axes.x) < 12) & (np.abs(visit.axes.y + 4) < 3)
        return float(draw_shoulders(visit)[lateral_lung].mean())

    assert bone_over_lung(ap) > bone_over_lung(pa) + 0.03
