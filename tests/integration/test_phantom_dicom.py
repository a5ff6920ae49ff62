"""The DICOM form of a cohort loads as the JPEG form does, whatever the bits, tables, polarity and transfer syntax."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.phantom.cohort import write_phantom_cohort
from biomedjourney_monai.phantom.dicom import TRANSFER_SYNTAXES
from biomedjourney_monai.radiographs import load_radiograph


def load(path: Path) -> np.ndarray | None:
    try:
        return load_radiograph(path, size=64)
    except ImageError:
        return None


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("forms")
    for form in ("jpg", "dicom"):
        write_phantom_cohort(root / form, patients=24, seed=3, size=64, processes=1, image_format=form)
    return root / "jpg", root / "dicom"


def test_both_forms_load_alike(folders):
    photographs, dicom = folders
    paths = sorted(dicom.glob("files/**/*.dcm"))
    assert len(paths) > 60
    loaded = 0
    for path in paths:
        image = load(path)
        same = load((photographs / path.relative_to(dicom)).with_suffix(".jpg"))
        if image is not None and same is not None:
            assert np.abs(image - same).mean() < 0.01, pydicom.dcmread(path).file_meta.TransferSyntaxUID.name
            loaded += 1
    assert loaded > 0.95 * len(paths)


def test_every_transfer_syntax_meets_a_look_up_table(folders):
    kinds = set()
    for path in folders[1].glob("files/**/*.dcm"):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        if "VOILUTSequence" in dataset:
            kinds.add(dataset.file_meta.TransferSyntaxUID)
    assert kinds == set(TRANSFER_SYNTAXES)
