"""The files of the case collection, where it lies beside the project, behave as its notes expect."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from biomedjourney_monai.generation.prior_check import check_prior
from biomedjourney_monai.preparation.cohort.dicom_folder import read_fields
from biomedjourney_monai.radiographs import load_radiograph, original_size
from biomedjourney_monai.radiographs.write.dicom_source import read_source

CASES = Path(__file__).resolve().parents[4] / "shared" / "cases"
PICTURES = sorted(path for kind in ("dicom-*/*.dcm", "nifti-*/*.nii.gz") for path in CASES.glob(kind))
TRUTH = CASES / "out-is-the-prior" / "ref_keep.png"
"""What all these files show."""

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="no collection of cases beside the project")


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_sound_chest_is_read_as_the_picture_that_it_shows(path):
    square, truth = (load_radiograph(file, size=128) for file in (path, TRUTH))
    assert np.corrcoef(square.ravel(), truth.ravel())[0, 1] >= 0.98
    assert check_prior(square) == ""
    if path.suffix == ".dcm":
        assert read_fields(str(path))["reason"] == ""


def test_pixels_that_are_not_square_are_shown_in_their_proportions():
    (path,) = CASES.glob("dicom-non-square-pixels/*.dcm")
    header = pydicom.dcmread(path, stop_before_pixels=True)
    height, width = original_size(path)
    assert (height, width) == (header.Rows, 2 * header.Columns)


def test_uids_with_leading_zeros_are_kept_and_not_shown(capfd):
    for path in CASES.glob("dicom-uid-leading-zero/*.dcm"):
        source = read_source(path)
        header = pydicom.dcmread(path, stop_before_pixels=True)
        assert str(source.StudyInstanceUID) == str(header.StudyInstanceUID)
        assert str(header.StudyInstanceUID) not in "".join(capfd.readouterr())
