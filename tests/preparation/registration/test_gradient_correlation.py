import numpy as np
import pytest
from scipy import ndimage

from biomedjourney_monai.preparation.registration.gradient_correlation import gradient_correlation

RNG = np.random.default_rng(0)
IMAGE = ndimage.gaussian_filter(RNG.random((256, 256)), 4)
FULL = np.ones(IMAGE.shape, bool)


def test_against_scipy():
    other = IMAGE + 0.3 * ndimage.gaussian_filter(RNG.random(IMAGE.shape), 4)
    expected = []
    for axis in (1, 0):
        a, b = (
            ndimage.sobel(ndimage.gaussian_filter(image, 1.5), axis)[4:-4, 4:-4].ravel() for image in (IMAGE, other)
        )
        expected.append(np.corrcoef(a, b)[0, 1])
    assert gradient_correlation(IMAGE, other, FULL) == pytest.approx(np.mean(expected), abs=2e-3)


def test_the_extremes():
    assert gradient_correlation(IMAGE, 3 * IMAGE + 7, FULL) == pytest.approx(1, abs=1e-6)
    assert gradient_correlation(IMAGE, -IMAGE, FULL) == pytest.approx(-1, abs=1e-6)
    assert gradient_correlation(IMAGE, np.ones_like(IMAGE), FULL) == 0
    assert gradient_correlation(IMAGE, IMAGE, ~FULL) == 0


def test_what_lies_outside_the_overlap_does_not_count():
    overlap = FULL.copy()
    overlap[:, 200:] = False
    spoilt = IMAGE.copy()
    spoilt[:, 206:] = RNG.random((256, 50))
    assert gradient_correlation(IMAGE, spoilt, overlap) > 0.999
    assert gradient_correlation(IMAGE, spoilt, FULL) < 0.9


def test_the_scale_follows_the_images_side():
    small = IMAGE.reshape(128, 2, 128, 2).mean((1, 3))
    other = np.roll(IMAGE, 3, axis=1)
    small_other = other.reshape(128, 2, 128, 2).mean((1, 3))
    at_256 = gradient_correlation(IMAGE, other, FULL)
    at_128 = gradient_correlation(small, small_other, np.ones(small.shape, bool))
    assert at_128 == pytest.approx(at_256, abs=0.05)
