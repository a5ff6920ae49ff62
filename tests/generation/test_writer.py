import gzip

import numpy as np
import pytest

from biomedjourney_monai.generation.writer import PictureWriter, suffix_like
from biomedjourney_monai.radiographs import save_png
from biomedjourney_monai.radiographs.read.pixels import read_pixels
from biomedjourney_monai.radiographs.write.nifti import save_nifti_series

FACTS = {"Software": "biomedjourney_monai 0.1.0", "seed": 4, "progression_description": "New edema."}


@pytest.fixture
def picture():
    return np.random.default_rng(0).random((120, 110)).astype(np.float32)


def test_the_suffix_is_that_of_the_content_and_not_of_the_name(tmp_path, picture):
    save_png(tmp_path / "a.dcm", picture)
    save_nifti_series(tmp_path / "b.nii", [picture])
    save_nifti_series(tmp_path / "c.nii.gz", [picture])
    (tmp_path / "d.nii.gz").write_bytes(gzip.compress(b"text"))
    PictureWriter(tmp_path / "a.dcm").write(tmp_path / "e.dcm", picture, FACTS)
    found = [suffix_like(tmp_path / name) for name in ("a.dcm", "b.nii", "c.nii.gz", "d.nii.gz", "e.dcm")]
    assert found == [".png", ".nii.gz", ".nii.gz", ".png", ".dcm"]


@pytest.mark.parametrize("name", ["out.png", "out.dcm", "out.nii.gz"])
def test_what_was_made_in_the_same_way_is_known_again_and_what_is_cut_is_not(tmp_path, picture, name):
    save_png(tmp_path / "prior.png", picture)
    writer, out = PictureWriter(tmp_path / "prior.png"), tmp_path / name
    assert not writer.is_written(out, FACTS)
    writer.write(out, picture, FACTS)
    assert writer.is_written(out, FACTS)
    assert not writer.is_written(out, {**FACTS, "seed": 5})
    shown = read_pixels(out)
    label = np.zeros(picture.shape, bool)
    label[:30, :100] = True
    assert np.abs(shown - np.rint(picture * 255))[~label].max() == 0
    out.write_bytes(out.read_bytes()[:-2000])
    assert not writer.is_written(out, FACTS)
