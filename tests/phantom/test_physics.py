"""How a radiograph is taken: geometry, Beer–Lambert, noise, marker."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.phantom.physics import (
    BONE_PER_CM,
    SOFT_PER_CM,
    detect,
    develop,
    display_grey,
    draw_acquisition,
    finish,
    line_integral,
    marker_box,
    rotate,
    window_position,
)


def test_same_seed_same_acquisition_and_other_seed_another():
    assert draw_acquisition(3) == draw_acquisition(3)
    assert draw_acquisition(3) != draw_acquisition(4)


def test_unknown_view_position_is_refused():
    with pytest.raises(ConfigError, match="PA, AP or LATERAL"):
        draw_acquisition(1, view_position="LL")


def test_portable_films_are_magnified_and_taken_in_shallow_breath():
    pa, ap = draw_acquisition(3), draw_acquisition(3, view_position="AP")
    assert ap.magnification > pa.magnification
    assert ap.inspiration < pa.inspiration
    assert ap.scatter > pa.scatter


def test_attenuation_follows_beer_lambert():
    integral = line_integral(np.array([[10.0]], np.float32), np.array([[2.0]], np.float32), hardness=1.0)
    assert integral[0, 0] == pytest.approx(10 * SOFT_PER_CM + 2 * BONE_PER_CM, rel=1e-5)
    harder = line_integral(np.array([[0.0]], np.float32), np.array([[2.0]], np.float32), hardness=1.1)
    assert harder[0, 0] == pytest.approx(2 * BONE_PER_CM / 1.21, rel=1e-5)


def test_noise_depends_on_the_acquisition_alone_and_grows_with_fewer_photons():
    plain = replace(draw_acquisition(3), scatter=0.0, blur_cm=0.0)
    flat = np.full((96, 96), 1.5, np.float32)
    assert np.array_equal(detect(flat, plain), detect(flat, plain))
    few = detect(flat, replace(plain, photons=plain.photons / 16))
    many = detect(flat, plain)
    assert many.mean() == pytest.approx(1.5, abs=0.01)
    assert few.std() / many.std() == pytest.approx(4.0, rel=0.05)


def test_noise_has_the_size_that_photon_counts_give():
    acquisition = replace(draw_acquisition(3), scatter=0.0, blur_cm=0.0, photons=1e5)
    noisy = detect(np.full((128, 128), 1.0, np.float32), acquisition)
    photons_per_pixel = 1e5 * (2 * 18.6 / 128) ** 2 * np.exp(-1.0)
    assert noisy.std() == pytest.approx(photons_per_pixel**-0.5, rel=0.05)


def test_scatter_flattens_contrast():
    edge = np.where(np.arange(96)[None, :] < 48, 0.5, 3.0).astype(np.float32) * np.ones((96, 1), np.float32)
    quiet = replace(draw_acquisition(3), blur_cm=0.0, photons=1e12)
    contrast = [np.ptp(detect(edge, replace(quiet, scatter=s))[48, [30, 66]]) for s in (0.0, 0.2, 0.4)]
    assert contrast[0] > contrast[1] > contrast[2]


def test_development_keeps_order_and_range():
    acquisition = replace(draw_acquisition(3), detail=0.0)
    ramp = np.tile(np.linspace(-1, 6, 128, dtype=np.float32), (128, 1))
    grey = develop(ramp, acquisition, low=1.0, high=4.0)
    assert grey.min() >= 0
    assert grey.max() <= 1
    assert (np.diff(grey[64]) >= 0).all()
    assert np.ptp(grey[64]) > 0.9


def test_rotation_turns_clockwise_for_positive_degrees_and_keeps_the_centre():
    image = np.zeros((65, 65), np.float32)
    image[32, 52] = 1  # right of the centre
    row, _ = np.unravel_index(rotate(image, 20).argmax(), image.shape)
    assert row > 32
    image = np.zeros((65, 65), np.float32)
    image[32, 32] = 1
    assert rotate(image, 20)[32, 32] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("marker", ["L", "R"])
@pytest.mark.parametrize("size", [64, 128, 256])
def test_marker_stands_on_the_side_it_names(marker, size):
    acquisition = replace(draw_acquisition(3), marker=marker, collimation=(0.0, 0.0, 0.0, 0.0))
    image = finish(np.zeros((size, size), np.float32), acquisition)
    columns = np.nonzero(image > 0.5)[1] / size
    assert len(columns)
    assert (columns > 0.75).all() if marker == "L" else (columns < 0.25).all()
    rows, columns = marker_box(acquisition, size)
    assert image[rows, columns].sum() == pytest.approx(image.sum())


def test_the_letter_l_has_its_foot_at_the_bottom_right():
    acquisition = replace(draw_acquisition(3), marker="L", collimation=(0.0, 0.0, 0.0, 0.0))
    image = finish(np.zeros((256, 256), np.float32), acquisition)
    rows, columns = np.nonzero(image > 0.5)
    stem = columns < np.median(columns)
    assert columns[rows >= rows.max() - 1].max() == columns.max()
    assert rows[stem].min() == rows.min()


def test_collimation_blackens_the_border():
    acquisition = replace(draw_acquisition(3), marker="", collimation=(0.1, 0.05, 0.2, 0.0))
    image = finish(np.ones((100, 100), np.float32), acquisition)
    assert image[:10].max() == image[95:].max() == image[:, :20].max() == 0
    assert image[10:95, 20:].min() == 1


def test_window_positions_and_grey_are_each_others_inverse():
    grey = np.linspace(0.03, 0.97, 95, dtype=np.float32)
    position = window_position(grey)
    assert (np.diff(position) > 0).all()
    np.testing.assert_allclose(display_grey(position), grey, atol=1e-3)
