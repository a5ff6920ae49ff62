"""What findings do inside one lung."""

from __future__ import annotations

import numpy as np
import pytest

from biomedjourney_monai.phantom.anatomy import draw_anatomy
from biomedjourney_monai.phantom.chest import Visit, shape_lung
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.pathology import LungContent, effusion_surface, fill_lung
from biomedjourney_monai.phantom.physics import axes_of, draw_acquisition

SIZE = 128


def content_with(**severities: int) -> tuple[LungContent, np.ndarray]:
    """Return what fills the left lung, and where its inside is."""
    anatomy, acquisition = draw_anatomy(4, sex="M", age=50, group=0), draw_acquisition(4)
    axes = axes_of(acquisition, SIZE, chest_cm=anatomy.lung_width_cm)
    visit = Visit(anatomy, acquisition, FindingState(**severities), axes)
    lung = shape_lung(visit, 1)
    return fill_lung(visit, lung, np.zeros((3, SIZE, SIZE), np.float32)), lung.inside > 0.9


def test_a_healthy_lung_is_mostly_air_with_all_its_vessels():
    content, inside = content_with()
    assert 0.1 < content.soft_share[inside].mean() < 0.3
    assert (content.vessels == 1).all()
    assert (content.lung == 1).all()
    assert (content.fluid == 0).all()
    assert (content.added_cm == 0).all()


@pytest.mark.parametrize("finding", ["atelectasis", "effusion", "pneumothorax"])
def test_the_other_sides_finding_does_nothing_here(finding):
    content, inside = content_with(**{f"{finding}_right": 3})
    healthy, _ = content_with()
    assert np.array_equal(content.soft_share[inside], healthy.soft_share[inside])
    assert (content.vessels == 1).all()


@pytest.mark.parametrize("severity", [1, 2, 3])
def test_free_air_has_no_vessels_no_tissue_and_a_pleural_line(severity):
    content, inside = content_with(pneumothorax_left=severity)
    free = inside & (content.lung < 0.05)
    assert (0, 0.05, 0.15, 0.3)[severity] < free.sum() / inside.sum() < 0.75
    assert content.vessels[free].max() < 0.06
    assert content.soft_share[free].max() < 0.05
    edge = inside & (content.lung > 0.2) & (content.lung < 0.8)
    assert content.added_cm[edge].max() > 0.6


def test_fluid_rises_with_severity_and_climbs_the_chest_wall():
    shares = [content_with(effusion_left=s)[0].fluid.mean() for s in range(4)]
    assert shares[0] == 0
    assert shares[1] < shares[2] < shares[3]
    anatomy, acquisition = draw_anatomy(4, sex="M", age=50, group=0), draw_acquisition(4)
    axes = axes_of(acquisition, SIZE, chest_cm=anatomy.lung_width_cm)
    visit = Visit(anatomy, acquisition, FindingState(effusion_left=2), axes)
    surface = effusion_surface(visit, shape_lung(visit, 1), 2)
    row = np.abs(axes.y[:, 0] - 5).argmin()
    middle, wall = (np.abs(axes.x[0] - x).argmin() for x in (6.0, 13.0))
    assert surface[row, wall] < surface[row, middle] - 2


def test_edema_adds_most_near_the_hilum():
    content, inside = content_with(edema=2)
    healthy, _ = content_with()
    added = content.soft_share - healthy.soft_share
    assert added[inside].min() > 0
    row, column = np.unravel_index(np.where(inside, added, 0).argmax(), added.shape)
    assert 50 < row < 80
    assert column < 96


def test_atelectasis_draws_more_bands_and_denser_base_when_worse():
    totals = [content_with(atelectasis_left=s) for s in range(4)]
    bands = [content.added_cm[inside].sum() for content, inside in totals]
    shares = [content.soft_share[inside].mean() for content, inside in totals]
    assert bands == sorted(bands)
    assert shares == sorted(shares)
    assert bands[1] > 100
