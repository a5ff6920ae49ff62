"""A result at the prior's own size: arrays, files by suffix, and a display in a notebook."""

import io
from dataclasses import replace

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.generation.finish import finished_picture
from biomedjourney_monai.generation.prior import Prior
from biomedjourney_monai.generation.result import Result, spread_of

RNG = np.random.default_rng(0)
FACTS = {"Software": "biomedjourney_monai", "progression_description": "New edema.", "prior": "0" * 16}


@pytest.fixture
def result():
    prior = Prior(RNG.random((128, 128)).astype(np.float32), (200, 160))
    squares = RNG.random((3, 128, 128)).astype(np.float32)
    return Result(squares, prior, tuple({**FACTS, "seed": seed} for seed in (5, 6, 7)), (5, 6, 7))


def test_arrays_have_the_priors_own_size(result):
    assert result.images.shape == (3, 200, 160)
    assert result.mean.shape == result.deviation.shape == result.difference.shape == (200, 160)
    assert np.array_equal(result.images[0], finished_picture(result.squares[0], result.prior))
    assert result.deviation.min() > 0


def test_one_sample_has_no_deviation(result):
    alone = Result(result.squares[:1], result.prior, result.documents[:1], (5,))
    assert not alone.deviation.any()
    assert alone.metadata == {**FACTS, "seed": 5}
    assert alone.series_facts is None


def test_the_suffix_decides_the_format_and_every_sample_is_written(result, tmp_path):
    files = [file for name in ("a.png", "a.nii.gz", "a.dcm") for file in result.save(tmp_path / name)]
    assert [file.name for file in files] == [
        *("a.png", "a-02.png", "a-03.png"),
        *("a.nii.gz", "a-02.nii.gz", "a-03.nii.gz"),
        *("a.dcm", "a-02.dcm", "a-03.dcm"),
    ]
    pixels = np.rint(result.images * 255).astype(np.uint8)
    with Image.open(files[1]) as picture:
        assert np.array_equal(np.asarray(picture), pixels[1])
        assert picture.text["seed"] == "6"
    volume = nibabel.load(files[3])
    assert volume.get_fdata().size == pixels[0].size
    datasets = [pydicom.dcmread(file) for file in files[6:]]
    assert np.array_equal(datasets[2].pixel_array, pixels[2])
    assert len({dataset.SeriesInstanceUID for dataset in datasets}) == 1
    assert all(dataset[0x0008001C].value == "YES" for dataset in datasets)


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.nii.zip"])
def test_another_suffix_is_refused_and_nothing_is_written(result, tmp_path, name):
    with pytest.raises(BiomedJourneyError, match="path must be a PNG, NIfTI or DICOM file"):
        result.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_shows_prior_counterfactual_and_difference(result):
    shown = np.asarray(Image.open(io.BytesIO(result._repr_png_())))
    assert shown.shape == (384, 3 * 307, 3)
    assert (shown[..., 0] != shown[..., 1]).any()
    assert "not for diagnosis" in result._repr_html_()
    assert "edema" not in repr(result)


def test_mean_and_deviation_are_those_of_the_samples():
    samples = np.random.default_rng(0).uniform(size=(5, 3, 4)).astype(np.float32)
    spread = spread_of(samples)
    np.testing.assert_allclose(spread.mean, np.mean(samples, axis=0), atol=1e-6)
    np.testing.assert_allclose(spread.deviation, np.std(samples, axis=0, ddof=1), atol=1e-6)


def test_equal_samples_have_no_spread():
    assert not spread_of(np.full((3, 2, 2), 0.5)).deviation.any()


@pytest.mark.parametrize("shape", [(1, 4, 4), (4, 4)])
def test_one_sample_has_no_spread(shape):
    with pytest.raises(ValueError, match="K >= 2"):
        spread_of(np.zeros(shape))


def test_no_sample_overwrites_the_prior_and_then_none_is_written(result, tmp_path):
    file = tmp_path / "made-03.png"
    file.write_bytes(b"the prior")
    ours = replace(result, prior=replace(result.prior, file=file))
    with pytest.raises(BiomedJourneyError, match="found the prior"):
        ours.save(tmp_path / "made.png")
    assert [path.name for path in tmp_path.iterdir()] == ["made-03.png"]
    assert file.read_bytes() == b"the prior"
