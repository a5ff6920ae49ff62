import numpy as np
import pytest
from PIL import Image

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.generation.region import read_region


@pytest.fixture
def mask(tmp_path):
    def draw(pixels):
        Image.fromarray(np.asarray(pixels, np.uint8)).save(tmp_path / "mask.png")
        return tmp_path / "mask.png"

    return draw


@pytest.mark.parametrize("region, read", [(None, None), ("", None), ("auto", "auto")])
def test_words_stay_words(region, read):
    assert read_region(region, size=64) == read


def test_a_mask_is_letterboxed_like_its_prior_and_left_stays_left(mask):
    pixels = np.zeros((100, 60))
    pixels[:, :30] = 255
    square = read_region(mask(pixels), size=100, prior_hw=(100, 60))
    assert square.shape == (100, 100) and square.dtype == bool
    assert square[:, 20:49].all() and not square[:, 51:].any() and not square[:, :20].any()


def test_a_mask_of_another_size_than_the_prior_is_refused(mask):
    with pytest.raises(ImageError, match="100×60 instead of 90×60"):
        read_region(mask(np.eye(100, 60) * 255), size=64, prior_hw=(90, 60))


@pytest.mark.parametrize("value", [0, 255])
def test_a_mask_that_marks_nothing_or_everything_is_refused(mask, value):
    with pytest.raises(ImageError, match="must mark a part"):
        read_region(mask(np.full((64, 64), value)), size=64)
