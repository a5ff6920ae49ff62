"""Devices of a frontal view."""

from __future__ import annotations

import numpy as np
import pytest

from biomedjourney_monai.phantom.anatomy import draw_anatomy
from biomedjourney_monai.phantom.chest import Visit
from biomedjourney_monai.phantom.findings import Devices, FindingState
from biomedjourney_monai.phantom.hardware import draw_devices
from biomedjourney_monai.phantom.physics import axes_of, draw_acquisition


@pytest.fixture
def visit() -> Visit:
    anatomy, acquisition = draw_anatomy(4, sex="M", age=70, group=0), draw_acquisition(4)
    return Visit(anatomy, acquisition, FindingState(), axes_of(acquisition, 256, chest_cm=anatomy.lung_width_cm))


def test_no_device_no_metal(visit):
    assert draw_devices(visit, Devices()).max() == 0


def test_devices_add_up(visit):
    parts = [draw_devices(visit, Devices(**{name: True})) for name in ("pacemaker", "tube", "wires")]
    together = draw_devices(visit, Devices(pacemaker=True, tube=True, wires=True))
    assert np.allclose(sum(parts), together, atol=1e-5)


def test_the_pacemaker_sits_below_the_left_clavicle_with_leads_to_the_heart(visit):
    metal = draw_devices(visit, Devices(pacemaker=True))
    rows, columns = np.nonzero(metal > 2.5)
    assert visit.axes.x[0, columns].mean() > 6
    assert visit.axes.y[rows, 0].mean() == pytest.approx(visit.anatomy.clavicle_y + 2.6, abs=2)
    lead_rows = np.nonzero(metal > 0.3)[0]
    assert visit.axes.y[lead_rows, 0].max() > visit.anatomy.heart_y


def test_the_tube_ends_above_the_carina(visit):
    rows, columns = np.nonzero(draw_devices(visit, Devices(tube=True)) > 0.2)
    assert -10 < visit.axes.y[rows, 0].max() < -5.5
    assert np.abs(visit.axes.x[0, columns]).max() < 2


def test_five_wires_down_the_breast_bone(visit):
    metal = draw_devices(visit, Devices(wires=True))
    covered = (metal > 0.2).any(axis=1)
    assert (np.diff(covered.astype(int)) == 1).sum() == 5
