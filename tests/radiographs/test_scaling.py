import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs import content_box, letterbox, restore, scale_intensity

sides = st.integers(1, 3000)


@given(height=sides, width=sides, size=st.integers(8, 256))
def test_the_content_lies_inside_the_square_and_fills_its_longer_side(height, width, size):
    top, left, rows, columns = content_box(height, width, size=size)
    assert top >= 0 and left >= 0 and rows >= 1 and columns >= 1
    assert top + rows <= size and left + columns <= size
    assert max(rows, columns) == size


@given(height=st.integers(40, 300), width=st.integers(40, 300))
def test_restore_undoes_the_letterbox(height, width):
    y, x = np.mgrid[:height, :width]
    smooth = (0.5 + 0.3 * np.sin(3 * y / height) * np.cos(4 * x / width)).astype(np.float32)
    image, _content = letterbox(smooth, size=128)
    restored = restore(image, (height, width))
    assert restored.shape == (height, width)
    assert np.abs(restored - smooth)[2:-2, 2:-2].max() < 0.03


def test_letterbox_centres_and_keeps_the_aspect():
    image, content = letterbox(np.full((100, 50), 0.5, np.float32), size=64)
    assert content[:, 16:48].all() and content.sum() == 64 * 32
    assert np.allclose(image[content], 0.5)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (3, 4, 2), (4,)])
def test_images_without_pixels_are_refused(shape):
    with pytest.raises(ImageError):
        letterbox(np.zeros(shape, np.float32), size=64)


def test_percentiles_go_to_zero_and_one():
    values = np.random.default_rng(0).permutation(np.linspace(-50, 900, 10_000)).reshape(100, 100).astype(np.float32)
    content = np.ones_like(values, bool)
    scaled = scale_intensity(values, content)
    low, high = np.percentile(values, [1, 99])
    expected = np.clip((values - low) / (high - low), 0, 1)
    assert np.allclose(scaled, expected, atol=1e-6)


@pytest.mark.parametrize("label", [np.s_[2:18, 70:98], np.s_[:, :3], np.s_[-3:]], ids=["letter", "border", "edge"])
def test_a_white_label_or_border_does_not_squeeze_the_chest(label):
    y, x = np.mgrid[:100, :100]
    chest = (60 + 40 * np.cos(x / 8) * np.cos(y / 11)).astype(np.float32)
    labelled, content = chest.copy(), np.ones(chest.shape, bool)
    labelled[label] = 255
    scaled, alone = scale_intensity(labelled, content), scale_intensity(chest, content)
    untouched = labelled == chest
    slope = np.polyfit(alone[untouched], scaled[untouched], 1)[0]
    assert 0.8 < slope <= 1.01  # with the label's grey value as the limit: .4


def test_a_film_without_labels_keeps_its_own_percentiles(rendered_chest):
    film = rendered_chest
    low, high = np.percentile(film, [1, 99])
    expected = np.clip((film - low) / (high - low), 0, 1)
    assert np.allclose(scale_intensity(film, np.ones(film.shape, bool)), expected, atol=1e-6)


@given(gain=st.floats(1, 5000), offset=st.floats(-1000, 1000))
def test_intensity_does_not_depend_on_the_files_scale(gain, offset):
    values = np.random.default_rng(0).random((40, 40)).astype(np.float64)
    content = np.ones_like(values, bool)
    assert np.allclose(scale_intensity(values * gain + offset, content), scale_intensity(values, content), atol=1e-4)


def test_a_small_bright_object_on_even_ground_survives():
    image = np.zeros((64, 64), np.float32)
    image[30:33, 30:33] = 200
    assert scale_intensity(image, np.ones_like(image, bool)).max() == 1


def test_a_constant_content_is_refused_even_beside_a_letterbox():
    image, content = letterbox(np.full((100, 50), 3.0, np.float32), size=64)
    with pytest.raises(ImageError, match="contrast"):
        scale_intensity(image, content)
