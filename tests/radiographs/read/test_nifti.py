import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs import load_radiograph, original_size
from biomedjourney_monai.radiographs.read.pixels import read_pixels, read_warnings
from biomedjourney_monai.radiographs.views.check import check_view

UPRIGHT = np.arange(40 * 30, dtype=np.float32).reshape(40, 30)  # (rows down, columns to the patient's left)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def save(path, array, affine):
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def test_a_2d_image_as_itk_writes_it(tmp_path):
    path = save(tmp_path / "image.nii.gz", UPRIGHT.T, LPS)
    assert np.array_equal(read_pixels(path), UPRIGHT)
    assert original_size(path) == (40, 30)
    assert load_radiograph(path, size=32).shape == (32, 32)


def test_an_axis_to_the_right_is_reversed_so_that_laterality_holds(tmp_path):
    affine = np.diag([1.0, -1.0, 1.0, 1.0])
    assert np.array_equal(read_pixels(save(tmp_path / "image.nii", UPRIGHT[:, ::-1].T, affine)), UPRIGHT)


def test_a_coronal_slice_of_a_volume_stands_upright(tmp_path):
    affine = np.eye(4)
    affine[:3, :3] = [[-1, 0, 0], [0, 1, 0], [0, 0, 1]]  # L, A, S
    volume = UPRIGHT[::-1].T[:, None, :]  # (to the left, one deep, up)
    assert np.array_equal(read_pixels(save(tmp_path / "image.nii", volume, affine)), UPRIGHT)


def test_a_file_without_orientation_is_only_transposed(tmp_path):
    image = nibabel.Nifti1Image(UPRIGHT.T, None)
    image.header["qform_code"], image.header["sform_code"] = 0, 0
    nibabel.save(image, tmp_path / "image.nii")
    assert np.array_equal(read_pixels(tmp_path / "image.nii"), UPRIGHT)


@pytest.mark.parametrize("codes", [(1, 1), (0, 2), (1, 0)])
def test_the_identity_as_a_placeholder_is_read_as_stored_with_a_warning(tmp_path, codes):
    image = nibabel.Nifti1Image(UPRIGHT.T, np.eye(4))
    image.set_qform(np.eye(4), codes[0])
    image.set_sform(np.eye(4), codes[1])
    nibabel.save(image, tmp_path / "image.nii")
    assert np.array_equal(read_pixels(tmp_path / "image.nii"), UPRIGHT)
    assert "placeholder" in read_warnings(tmp_path / "image.nii")[0]
    assert read_warnings(save(tmp_path / "placed.nii", UPRIGHT.T, LPS)) == ()


def test_a_picture_that_monai_saved_is_upright():
    path = Path(__file__).parent / "files" / "ref_monai.nii.gz"
    assert check_view(load_radiograph(path, size=128)).reason == ""


def test_sagittal_planes_and_volumes_are_refused(tmp_path):
    with pytest.raises(ImageError, match="frontal"):
        load_radiograph(save(tmp_path / "sagittal.nii", UPRIGHT[None], LPS))
    with pytest.raises(ImageError, match="2-D"):
        load_radiograph(save(tmp_path / "volume.nii", np.zeros((5, 6, 7), np.float32), LPS))


def test_not_a_number_is_refused(tmp_path):
    array = UPRIGHT.T.copy()
    array[3, 4] = np.nan
    with pytest.raises(ImageError, match="finite"):
        load_radiograph(save(tmp_path / "image.nii", array, LPS))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_truncated_files_are_refused(tmp_path, suffix):
    path = save(tmp_path / f"image{suffix}", UPRIGHT.T, LPS)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError):
        load_radiograph(path)


def test_a_gzip_of_something_else_is_refused(tmp_path):
    (tmp_path / "image.nii.gz").write_bytes(gzip.compress(b"x" * 1000))
    with pytest.raises(ImageError, match="JPEG, PNG, NIfTI or DICOM"):
        load_radiograph(tmp_path / "image.nii.gz")
