"""Files of a counterfactual keep the prior's own pixels where nothing changed: DICOM at its depth, NIfTI, PNG."""

import shutil
import subprocess

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.generation.detail import TRANSFER
from biomedjourney_monai.generation.finish import finished_picture
from biomedjourney_monai.generation.prior import read_prior
from biomedjourney_monai.generation.writer import PictureWriter
from biomedjourney_monai.radiographs.film import read_film
from biomedjourney_monai.radiographs.read.pixels import read_pixels
from biomedjourney_monai.radiographs.write.dicom import save_dicom

FACTS = {"Software": "biomedjourney_monai", "progression_description": "New edema.", "seed": 4, "detail": TRANSFER}
NEWER = "Error - Attribute with an even group number is not a recognized standard attribute - (0x0008,0x001c)"


def table():
    """A rising VOI look-up table from 12 to 16 bits."""
    item = Dataset()
    item.LUTDescriptor, item.LUTExplanation = [4096, 0, 16], "of DOE"
    item.LUTData = (np.arange(4096) << 4).astype(np.uint16).tobytes()
    return [item]


FORMS = {
    "plain": {},
    "windows": {"WindowCenter": ["1800", "2000"], "WindowWidth": ["2000", "4000"]},
    "sigmoid": {"WindowCenter": "1800", "WindowWidth": "900", "VOILUTFunction": "SIGMOID"},
    "monochrome1": {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": "2000", "WindowWidth": "3000"},
    "rescale": {"RescaleSlope": "2", "RescaleIntercept": "-1000", "RescaleType": "US"},
    "table": {"VOILUTSequence": table()},
    "padding": {"PixelPaddingValue": 0},
    "lossy": {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": "12",
        "LossyImageCompressionMethod": "ISO_10918_1",
    },
}


@pytest.fixture
def prior_of(tmp_path, dicom_chest):
    """Writes a prior with these attributes and reads it."""

    def build(**values):
        (tmp_path / "prior.dcm").write_bytes(dicom_chest(**values))
        return read_prior(tmp_path / "prior.dcm", size=128)

    return build


def denser_below(prior):
    """A square that is denser in a part of the lower half."""
    square = prior.image.copy()
    square[80:110, 40:90] = np.clip(square[80:110, 40:90] + 0.25, 0, 1)
    return square


def validated(path) -> list[str]:
    """The errors that dciodvfy finds, but for that of an older standard."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed: apt-get install dicom3tools")
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, timeout=60)
    said = (done.stdout + done.stderr).splitlines()
    return [line for line in said if line.startswith("Error") and not line.startswith(NEWER)]


@pytest.mark.parametrize("form", FORMS)
def test_dicom_keeps_depth_display_and_every_unchanged_value(prior_of, tmp_path, form):
    prior, out = prior_of(**FORMS[form]), tmp_path / "made.dcm"
    picture = finished_picture(denser_below(prior), prior)
    PictureWriter(prior).write(out, picture, FACTS)
    before, after = pydicom.dcmread(tmp_path / "prior.dcm"), pydicom.dcmread(out)
    for keyword in ("BitsStored", "BitsAllocated", "PhotometricInterpretation", "PixelRepresentation", "WindowCenter"):
        assert after.get(keyword) == before.get(keyword)
    assert after.get("LossyImageCompression") == before.get("LossyImageCompression")
    same = picture == prior.film.grey()
    assert 0.6 < same.mean() < 0.99
    assert np.array_equal(after.pixel_array[same], before.pixel_array[same])
    shown = read_film(out, size=128)
    scale = prior.film.limits[1] - prior.film.limits[0]
    error = np.abs(shown.displayed() - prior.film.displayed()) / scale
    assert error[same].max() < 1e-6
    assert error[~same].max() > 0.1
    assert "of DOE" not in str(after)
    assert validated(out) == []


def test_values_with_a_sign_and_of_8_bits_keep_both(prior_of, rendered_chest, tmp_path):
    signed = (np.rint(rendered_chest * 3000) - 1000).astype("<i2")
    prior = prior_of(PixelRepresentation=1, PixelData=signed.tobytes())
    PictureWriter(prior).write(tmp_path / "a.dcm", prior.film.grey(), FACTS)
    made = pydicom.dcmread(tmp_path / "a.dcm")
    assert np.array_equal(made.pixel_array[40:], signed[40:]) and validated(tmp_path / "a.dcm") == []
    small = np.rint(rendered_chest * 255).astype(np.uint8)
    prior = prior_of(BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=small.tobytes())
    PictureWriter(prior).write(tmp_path / "b.dcm", prior.film.grey(), FACTS)
    made = pydicom.dcmread(tmp_path / "b.dcm")
    assert made.BitsAllocated == 8 and np.array_equal(made.pixel_array[40:], small[40:])
    assert validated(tmp_path / "b.dcm") == []


def test_without_detail_dicom_has_8_bits(prior_of, tmp_path):
    prior = prior_of()
    picture = finished_picture(denser_below(prior), prior, detail="none")
    made = PictureWriter(prior).dataset(picture, {**FACTS, "detail": "none"})
    assert (made.BitsStored, made.PhotometricInterpretation) == (8, "MONOCHROME2")


def test_pixels_that_are_not_square_are_interpolated_once(prior_of, tmp_path):
    prior = prior_of(PixelSpacing=[0.2, 0.1])
    picture = finished_picture(denser_below(prior), prior)
    made = PictureWriter(prior).dataset(picture, FACTS)
    assert (made.Rows, made.Columns, made.BitsStored) == (360, 180, 12)
    save_dicom(tmp_path / "made.dcm", made)
    same = picture == prior.film.grey()
    assert np.array_equal(made.pixel_array[same], prior.film.stored[same])


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_nifti_keeps_values_and_type(tmp_path, rendered_chest, kind):
    values = (rendered_chest * (200 if kind == np.uint8 else 2000)).astype(kind)
    affine = np.array([[-1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], float)
    nibabel.save(nibabel.Nifti1Image(values.T[..., None], affine), tmp_path / "prior.nii")
    prior = read_prior(tmp_path / "prior.nii", size=128)
    picture = finished_picture(denser_below(prior), prior)
    PictureWriter(prior).write(tmp_path / "made.nii.gz", picture, FACTS)
    assert nibabel.load(tmp_path / "made.nii.gz").get_data_dtype() == kind
    same = picture == prior.film.grey()
    assert np.array_equal(read_pixels(tmp_path / "made.nii.gz")[same], read_pixels(tmp_path / "prior.nii")[same])


@pytest.mark.parametrize("name", ["prior.png", "prior.jpg"])
def test_a_photograph_keeps_its_grey_values(tmp_path, rendered_chest, name):
    Image.fromarray(np.rint(rendered_chest * 255).astype(np.uint8)).save(tmp_path / name)
    prior = read_prior(tmp_path / name, size=128)
    picture = finished_picture(denser_below(prior), prior)
    PictureWriter(prior).write(tmp_path / "made.png", picture, FACTS)
    same = picture == prior.film.grey()
    assert same.mean() > 0.6
    assert np.array_equal(read_pixels(tmp_path / "made.png")[same], read_pixels(tmp_path / name)[same])


def test_a_window_of_its_own_for_each_frame_is_refused_with_a_reason(prior_of):
    with pytest.raises(ImageError, match="state its window in the header itself") as caught:
        prior_of(SharedFunctionalGroupsSequence=[Dataset()])
    assert caught.value.reason == "window per frame"


def test_a_film_of_one_row_is_refused_before_anything_is_made(tmp_path):
    Image.fromarray(np.arange(200, dtype=np.uint8)[None]).save(tmp_path / "row.png")
    prior = read_prior(tmp_path / "row.png", size=128)
    with pytest.raises(ImageError, match="at least 96 px"):
        finished_picture(prior.image, prior)
