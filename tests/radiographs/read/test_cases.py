"""The files and lists of the case collection, where it lies beside the project, behave as its notes expect."""

from pathlib import Path

import pydicom
import pytest

from biomedjourney_monai.generation.prior_check import check_prior
from biomedjourney_monai.generation.request_table import read_request_table
from biomedjourney_monai.radiographs import load_radiograph, original_size
from biomedjourney_monai.radiographs.read.dicom_header import read_header
from biomedjourney_monai.radiographs.write.dicom_source import read_source

CASES = Path(__file__).resolve().parents[4] / "shared" / "cases"
PICTURES = sorted(path for kind in ("dicom-*/*.dcm", "nifti-*/*.nii.gz") for path in CASES.glob(kind))
LISTS = sorted(CASES.glob("csv-*/*.csv"))

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="no collection of cases beside the project")


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_sound_chest_is_taken_as_an_upright_chest(path):
    assert check_prior(load_radiograph(path, size=128)) == ""
    if path.suffix == ".dcm":
        read_header(path, ["PatientID"])  # as `cohort` does


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


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.name)
def test_a_list_as_excel_saves_it_is_read(path):
    rows = read_request_table(path, option="--csv", columns=("prior", "description", "out"))
    assert rows and all(row["prior"] and row["description"] and row["out"] for row in rows)
