"""Drawing in centimetres, against hand-worked geometry."""

from __future__ import annotations

import numpy as np
import pytest

from biomedjourney_monai.phantom.raster import (
    HALF_FIELD_CM,
    draw_polyline,
    draw_tubes,
    fill_polygon,
    make_axes,
    scatter_points,
    smooth_curve,
    step,
)


@pytest.fixture
def axes():
    return make_axes(200, magnification=1.0, shift_x_cm=0.0, shift_y_cm=0.0)


def test_axes_span_the_field_and_grow_right_and_down(axes):
    assert axes.pixel_cm == pytest.approx(2 * HALF_FIELD_CM / 200)
    assert axes.x[0, 0] == pytest.approx(-HALF_FIELD_CM + axes.pixel_cm / 2, rel=1e-4)
    assert axes.y[-1, 0] == pytest.approx(HALF_FIELD_CM - axes.pixel_cm / 2, rel=1e-4)
    assert axes.columns(np.array([0.0]))[0] == pytest.approx(99.5, abs=1e-3)


def test_magnification_enlarges_and_shift_moves_right():
    near = make_axes(100, magnification=2.0, shift_x_cm=1.0, shift_y_cm=0.0)
    column = near.columns(np.array([0.0]))[0]
    assert column == pytest.approx(49.5 + 1.0 / (2 * HALF_FIELD_CM) * 100, abs=1e-2)
    assert near.pixel_cm == pytest.approx(HALF_FIELD_CM / 100)


def test_step_goes_from_nought_to_one():
    assert np.allclose(step(np.array([-2.0, -1.0, 0.0, 1.0, 2.0])), [0, 0, 0.5, 1, 1])


def test_scattered_points_keep_their_weight_and_outsiders_are_dropped(axes):
    image = scatter_points(axes, np.array([0.3, 99.0]), np.array([-2.2, 0.0]), np.array([1.5, 7.0]))
    assert image.sum() == pytest.approx(1.5, rel=1e-5)
    row, column = np.unravel_index(image.argmax(), image.shape)
    assert abs(axes.x[0, column] - 0.3) <= axes.pixel_cm
    assert abs(axes.y[row, 0] + 2.2) <= axes.pixel_cm


def test_a_solid_tube_has_a_cylinders_profile(axes):
    x, y, length = draw_polyline(np.array([[0.0, -15.0], [0.0, 15.0]]), 0.02)
    tube = draw_tubes(axes, x, y, length, radius_cm=2.0)
    profile = tube[100]
    expected = 2 * np.sqrt(np.maximum(4.0 - axes.x[0] ** 2, 0))
    inner = np.abs(axes.x[0]) < 1.6
    assert np.allclose(profile[inner], expected[inner], rtol=0.03)
    assert profile[np.abs(axes.x[0]) > 2.4].max() < 0.02


def test_a_hollow_tube_is_thinner_in_the_middle_than_at_its_wall(axes):
    x, y, length = draw_polyline(np.array([[0.0, -15.0], [0.0, 15.0]]), 0.02)
    tube = draw_tubes(axes, x, y, length, radius_cm=2.0, hollow=1.0, hollow_radius=0.8)[100]
    middle, wall = np.abs(axes.x[0]).argmin(), np.abs(axes.x[0] - 1.6).argmin()
    assert tube[middle] == pytest.approx(0.8, rel=0.12)  # two walls of 0.4 cm
    assert tube[wall] > 2 * tube[middle]


def test_polyline_samples_carry_its_length():
    _, _, length = draw_polyline(np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 10.0]]), 0.1)
    assert length.sum() == pytest.approx(11.0, rel=1e-5)


def test_smooth_curve_passes_its_ends():
    curve = smooth_curve([(0, 0), (1, 2), (3, 3)], 50)
    assert np.allclose(curve[0], (0, 0), atol=1e-5)
    assert np.allclose(curve[-1], (3, 3), atol=1e-2)


def test_polygon_covers_its_area(axes):
    square = fill_polygon(axes, np.array([[-3.0, -2.0], [3.0, -2.0], [3.0, 2.0], [-3.0, 2.0]]))
    assert square.sum() * axes.pixel_cm**2 == pytest.approx(24.0, rel=0.1)
