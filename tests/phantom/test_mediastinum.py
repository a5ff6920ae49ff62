"""Heart, vessels and airways from the front."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from biomedjourney_monai.phantom.anatomy import draw_anatomy
from biomedjourney_monai.phantom.chest import Visit
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.mediastinum import HEART_SCALE, heart_width_scale, shape_mediastinum
from biomedjourney_monai.phantom.physics import axes_of, draw_acquisition


def visit_with(*, age: float = 50, view_position: str = "PA", **severities: int) -> Visit:
    anatomy = draw_anatomy(4, sex="M", age=age, group=0)
    acquisition = replace(draw_acquisition(4, view_position=view_position), turn=0.0)
    axes = axes_of(acquisition, 128, chest_cm=anatomy.lung_width_cm)
    return Visit(anatomy, acquisition, FindingState(**severities), axes)


def test_heart_scale_grows_with_severity_and_in_a_portable_film():
    assert list(HEART_SCALE) == sorted(HEART_SCALE)
    assert heart_width_scale(visit_with(cardiomegaly=2)) > heart_width_scale(visit_with(cardiomegaly=1))
    assert heart_width_scale(visit_with(view_position="AP")) > heart_width_scale(visit_with())


def test_heart_outline_lies_where_there_is_heart():
    middle = shape_mediastinum(visit_with())
    assert middle.solid[middle.heart > 0.9].min() > 0.5
    assert not ((middle.heart > 0.5) & (middle.upper > 0.5)).any()


def test_airways_run_down_the_middle_and_end_at_the_hila():
    visit = visit_with()
    air = shape_mediastinum(visit).air
    rows, columns = np.nonzero(air > 0.5)
    assert np.abs(visit.axes.x[0, columns]).max() < 5
    assert visit.axes.y[rows, 0].max() < 1
    assert air.max() < 4


def test_the_aortic_knob_stands_out_to_the_left_and_grows_and_calcifies_with_age():
    young, old = visit_with(age=25), visit_with(age=88)
    at_knob = np.abs(young.axes.y[:, 0] + 6).argmin()

    def left_border(visit: Visit) -> float:
        return visit.axes.x[0, shape_mediastinum(visit).upper[at_knob] > 0.5].max()

    assert left_border(old) > left_border(young) + 0.8
    assert shape_mediastinum(young).calcium.max() == 0
    assert shape_mediastinum(old).calcium.max() > 0.3
