import nibabel
import numpy as np
import pytest

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.read.pixels import read_pixels
from biomedjourney_monai.radiographs.write.nifti_series import save_nifti_series


@pytest.fixture
def images():
    return [np.random.default_rng(n).uniform(size=(30, 20)).astype(np.float32) for n in range(3)]


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_series_counts_its_images_on_the_fourth_axis(images, tmp_path, name):
    save_nifti_series(tmp_path / name, images)
    series = nibabel.load(tmp_path / name)
    assert series.shape == (20, 30, 1, 3)
    assert nibabel.aff2axcodes(series.affine)[:2] == ("L", "I")
    assert b"SYNTHETIC" in series.header["descrip"].item()
    for n, image in enumerate(images):
        np.testing.assert_allclose(np.asarray(series.dataobj)[:, :, 0, n].T / 255, image, atol=0.003)


def test_our_own_reader_sees_a_single_image_as_it_was(images, tmp_path):
    save_nifti_series(tmp_path / "a.nii.gz", images[:1])
    np.testing.assert_allclose(read_pixels(tmp_path / "a.nii.gz") / 255, images[0], atol=0.003)


def test_the_same_series_is_the_same_bytes(images, tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        save_nifti_series(tmp_path / name, images)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_another_format_and_unequal_sizes_are_refused(images, tmp_path):
    with pytest.raises(ImageError, match="end in"):
        save_nifti_series(tmp_path / "a.dcm", images)
    with pytest.raises(ImageError, match="one size"):
        save_nifti_series(tmp_path / "a.nii", [images[0], images[1][:5]])
    assert list(tmp_path.iterdir()) == []
