"""A film keeps what its file stores: the same values come back where a picture equals it."""

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from biomedjourney_monai.radiographs.film import Film, read_film
from biomedjourney_monai.radiographs.write.nifti import save_nifti_series

WINDOW = {"WindowCenter": "1800", "WindowWidth": "2000"}


def inverted_table():
    """A VOI look-up table over 12 bits that falls."""
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 12]
    item.LUTData = np.arange(4095, -1, -1, dtype=np.uint16).tobytes()
    return {"VOILUTSequence": [item]}


def test_an_8_bit_picture_keeps_its_grey_values(tmp_path, rendered_chest):
    pixels = np.rint(rendered_chest * 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    film = read_film(tmp_path / "a.png", size=128)
    assert film.stored.dtype == np.uint8 and np.array_equal(film.stored, pixels)
    assert np.array_equal(np.rint(film.grey() * 255), pixels)
    low, high = film.limits
    assert film.scale == pytest.approx((high - low) / 255)


@pytest.mark.parametrize(
    "values",
    [
        {},
        WINDOW,
        {**WINDOW, "VOILUTFunction": "SIGMOID"},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {**WINDOW, "PhotometricInterpretation": "MONOCHROME1"},
        {"RescaleSlope": "2", "RescaleIntercept": "-1000"},
        inverted_table(),
        {"PixelPaddingValue": 0},
    ],
    ids=["plain", "window", "sigmoid", "monochrome1", "monochrome1-window", "rescale", "table", "padding"],
)
def test_dicom_comes_back_as_stored_and_a_change_goes_the_right_way(tmp_path, dicom_chest, values):
    (tmp_path / "a.dcm").write_bytes(dicom_chest(**values))
    stored = pydicom.dcmread(tmp_path / "a.dcm").pixel_array
    film = read_film(tmp_path / "a.dcm", size=128)
    grey = film.grey()
    assert np.array_equal(film.to_stored(grey), stored)
    middle = (grey > 0.3) & (grey < 0.6) & (stored > stored.min())
    assert middle.any()
    changed = film.to_stored(np.where(middle, grey + np.float32(0.2), grey))
    assert np.array_equal(changed[~middle], stored[~middle])
    shown = Film(changed, film.limits, film.levels, film.lowest, film.padding).grey()
    assert np.abs(shown - grey - 0.2)[middle].max() < 0.002


def test_values_that_cannot_be_undone_are_shown_instead(tmp_path, dicom_chest):
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 8]
    item.LUTData = (np.abs(np.arange(4096) - 2048) // 16).astype(np.uint8).tobytes()
    (tmp_path / "a.dcm").write_bytes(dicom_chest(VOILUTSequence=[item]))
    assert read_film(tmp_path / "a.dcm", size=128).levels is None


def test_nifti_and_deeper_pictures_keep_their_values(tmp_path, rendered_chest):
    save_nifti_series(tmp_path / "a.nii", [rendered_chest])
    film = read_film(tmp_path / "a.nii", size=128)
    assert np.array_equal(film.to_stored(film.grey()), np.rint(rendered_chest * 255))
    deep = np.rint(rendered_chest * 60000).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "b.png")
    film = read_film(tmp_path / "b.png", size=128)
    assert np.array_equal(film.to_stored(film.grey()), deep)


def test_it_passes_through_plain_arrays(tmp_path, dicom_chest):
    (tmp_path / "a.dcm").write_bytes(dicom_chest(**WINDOW, PixelPaddingValue=0))
    film = read_film(tmp_path / "a.dcm", size=128)
    again = Film.from_arrays(film.arrays())
    assert np.array_equal(again.grey(), film.grey())
    assert again.shown == film.shown and again.lowest == film.lowest


def test_an_array_of_8_bits_is_shown_as_it_is(rendered_chest):
    pixels = np.rint(rendered_chest * 255).astype(np.uint8)
    assert np.array_equal(np.rint(Film.of_pixels(pixels, size=128).grey() * 255), pixels)
    film = Film.of_pixels(rendered_chest * 1000, size=128)
    assert film.shown == film.limits


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_the_stored_value_is_the_nearest_that_is_shown_so(bits):
    stored = np.arange(2**bits, dtype=np.uint16).reshape(-1, 64)
    levels = np.clip(np.arange(2**bits) * -0.37 + 20, -0.3 * 2**bits, 0).astype(np.float32)  # falls, in a window
    film = Film(stored, (float(levels.min()), float(levels.max())), levels)
    picture = np.random.default_rng(0).random(stored.shape, np.float32)
    shown = picture * np.float32(film.limits[1] - film.limits[0]) + np.float32(film.limits[0])
    values, first = np.unique(levels, return_index=True)
    assert np.array_equal(film.to_stored(picture), np.rint(np.interp(shown, values, first)))


def test_signed_values_may_span_more_than_half_of_their_type():
    stored = np.linspace(-30000, 30000, 64 * 64).astype(np.int16).reshape(64, 64)
    film = Film(stored, (0, 60000), np.arange(60001, dtype=np.float32), -30000)
    assert np.array_equal(film.displayed(), stored.astype(np.float32) + 30000)
    assert np.array_equal(film.to_stored(film.grey()), stored)
