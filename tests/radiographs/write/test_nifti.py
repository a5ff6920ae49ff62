import nibabel
import numpy as np
import pytest
from PIL import Image

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.read.pixels import read_pixels
from biomedjourney_monai.radiographs.write.nifti import read_note, save_nifti_like, save_nifti_series

AXES = {"L": (-1, 0, 0), "R": (1, 0, 0), "P": (0, -1, 0), "A": (0, 1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 30)).astype(np.uint8)


def prior_of(path, first, second, shape):
    """A NIfTI of random numbers whose axes run to `first` and `second`, with a name in its header."""
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = 0.5 * np.array(AXES[first]), 0.4 * np.array(AXES[second])
    affine[:3, 2] = np.cross(affine[:3, 0], affine[:3, 1]) * 5
    affine[:3, 3] = (3, -4, 5)
    image = nibabel.Nifti1Image(np.random.default_rng(1).normal(size=shape).astype(np.float32), affine)
    image.header["descrip"] = b"DOE^JANE"
    image.header["db_name"] = b"MRN12345"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, b"DOE^JANE"))
    image.to_filename(path)
    return image


@pytest.mark.parametrize("first, second", ["LI", "RI", "LS", "RS", "LP", "RA", "IL", "SR", "PL", "AR"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_the_picture_lies_on_its_prior_whatever_the_priors_axes(tmp_path, first, second, suffix):
    across_first = first in "LR"
    shape = (30, 40, 1) if across_first else (40, 30, 1)
    prior_of(tmp_path / f"prior{suffix}", first, second, shape)
    prior = nibabel.load(tmp_path / f"prior{suffix}")
    out = tmp_path / f"out{suffix}"
    save_nifti_like(out, PICTURE / 255, tmp_path / f"prior{suffix}")
    made = nibabel.load(out)
    assert made.shape == shape
    assert np.array_equal(made.affine, prior.affine)
    assert made.header.get_zooms() == prior.header.get_zooms()
    assert np.array_equal(read_pixels(out), PICTURE)  # displayed as the prior is
    assert b"DOE" not in out.read_bytes()
    assert not made.header.extensions
    assert bytes(made.header["descrip"].item()).startswith(b"SYNTHETIC - NOT FOR DIAGNOSIS")


def test_a_voxel_of_the_picture_is_where_the_priors_is(tmp_path):
    """By hand: columns run to the right, rows upwards, so the picture's top left is the last voxel of both axes."""
    prior_of(tmp_path / "prior.nii", "R", "S", (30, 40, 1))
    save_nifti_like(tmp_path / "out.nii", PICTURE / 255, tmp_path / "prior.nii")
    assert nibabel.load(tmp_path / "out.nii").get_fdata()[29, 39, 0] == PICTURE[0, 0]


def test_a_prior_without_an_orientation_gives_none(tmp_path):
    nibabel.Nifti1Image(np.zeros((30, 40), np.float32), None).to_filename(tmp_path / "prior.nii")
    save_nifti_like(tmp_path / "out.nii", PICTURE / 255, tmp_path / "prior.nii")
    made = nibabel.load(tmp_path / "out.nii")
    assert (made.shape, int(made.header["qform_code"]), int(made.header["sform_code"])) == ((30, 40), 0, 0)
    assert np.array_equal(read_pixels(tmp_path / "out.nii"), PICTURE)


def test_a_prior_of_another_format_gives_a_picture_as_displayed(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "prior.png")
    save_nifti_like(tmp_path / "out.nii.gz", PICTURE / 255, tmp_path / "prior.png", note="abc")
    assert np.array_equal(read_pixels(tmp_path / "out.nii.gz"), PICTURE)
    assert read_note(tmp_path / "out.nii.gz") == "abc"


def test_another_size_is_refused_and_leaves_nothing(tmp_path):
    prior_of(tmp_path / "prior.nii", "L", "I", (30, 41, 1))
    with pytest.raises(ImageError, match="size"):
        save_nifti_like(tmp_path / "out.nii", PICTURE / 255, tmp_path / "prior.nii")
    assert not (tmp_path / "out.nii").exists()


def test_the_note_is_read_back_and_is_none_in_other_files(tmp_path):
    prior_of(tmp_path / "prior.nii", "L", "I", (30, 40, 1))
    save_nifti_like(tmp_path / "out.nii", PICTURE / 255, tmp_path / "prior.nii", note="0123456789abcdef" * 2)
    assert read_note(tmp_path / "out.nii") == "0123456789abcdef" * 2
    (tmp_path / "bad.nii").write_bytes(b"no picture")
    assert [read_note(tmp_path / name) for name in ("prior.nii", "bad.nii", "nowhere.nii")] == ["", "", ""]


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
