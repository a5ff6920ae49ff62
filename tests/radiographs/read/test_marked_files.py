"""The mark in the metadata, in every format that this package writes, and what does not carry it."""

import io

import numpy as np
import pydicom
import pytest
from PIL import Image

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.generation.writer import PictureWriter
from biomedjourney_monai.radiographs import NOT_FOR_DIAGNOSIS, save_png
from biomedjourney_monai.radiographs.read.marked_files import carries_mark

FACTS = {"Comment": NOT_FOR_DIAGNOSIS, "seed": 4, "progression_description": "New edema."}
PICTURE = np.random.default_rng(0).random((120, 110)).astype(np.float32)


@pytest.fixture
def priors(tmp_path, dicom_chest):
    """A prior of each format; the DICOM file says that it is synthetic, as rendered ones do."""
    import nibabel

    save_png(tmp_path / "prior.png", PICTURE, metadata={"Comment": "a rendered patient"})
    dataset = pydicom.dcmread(io.BytesIO(dicom_chest(PICTURE)))
    dataset.add_new(0x0008001C, "CS", "YES")
    dataset.save_as(tmp_path / "prior.dcm")
    nibabel.Nifti1Image(PICTURE.T[:, :, None], np.diag([-1, -1, 1, 1.0])).to_filename(tmp_path / "prior.nii.gz")
    return tmp_path


@pytest.mark.parametrize("suffix", [".png", ".dcm", ".nii.gz"])
def test_what_is_made_carries_the_mark_and_its_prior_does_not(priors, suffix):
    prior, made = priors / f"prior{suffix}", priors / f"made{suffix}"
    PictureWriter(prior).write(made, PICTURE, FACTS)
    assert carries_mark(made)
    assert not carries_mark(prior)


def test_a_photograph_of_it_has_lost_the_mark(tmp_path):
    save_png(tmp_path / "made.png", PICTURE, metadata=FACTS)
    Image.open(tmp_path / "made.png").save(tmp_path / "made.jpg")
    assert carries_mark(tmp_path / "made.png")
    assert not carries_mark(tmp_path / "made.jpg")


def test_a_file_that_is_gone_or_cut_short_is_one_line(tmp_path):
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name in ("cut.png", "DOE.png"):
        with pytest.raises(ImageError) as error:
            carries_mark(tmp_path / name)
        assert "DOE" not in str(error.value)
