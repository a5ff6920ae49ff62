import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs import NOT_FOR_DIAGNOSIS, mark_synthetic, read_mask, read_png, save_png


def test_floats_are_rounded_to_eight_bits(tmp_path):
    image = np.linspace(-0.1, 1.1, 100, dtype=np.float32).reshape(10, 10)
    save_png(tmp_path / "a.png", image)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.rint(np.clip(image, 0, 1) * 255))
    assert np.abs(read_png(tmp_path / "a.png") - np.clip(image, 0, 1)).max() <= 0.5 / 255 + 1e-6


def test_masks_go_and_come_back(tmp_path):
    mask = np.eye(9, dtype=bool)
    save_png(tmp_path / "m.png", mask)
    assert np.array_equal(read_mask(tmp_path / "m.png"), mask)
    assert set(np.unique(np.asarray(Image.open(tmp_path / "m.png")))) == {0, 255}


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=80))
def test_metadata_comes_back(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("png") / "a.png"
    save_png(path, np.zeros((4, 4), np.uint8), metadata={"Comment": text, "Warning": NOT_FOR_DIAGNOSIS})
    with Image.open(path) as image:
        assert image.text["Warning"] == NOT_FOR_DIAGNOSIS
        assert image.text["Comment"].replace("\r", "\n") == text.replace("\r", "\n")


def test_the_same_image_gives_the_same_bytes(tmp_path):
    image = np.random.default_rng(0).random((20, 20))
    for name in ("a.png", "b.png"):
        save_png(tmp_path / name, image, metadata={"k": "v"})
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("image", [np.zeros((0, 4)), np.zeros((2, 2, 3)), np.full((2, 2), np.nan)])
def test_what_is_no_picture_is_refused_and_leaves_nothing(tmp_path, image):
    with pytest.raises(ImageError):
        save_png(tmp_path / "a.png", image)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [lambda p: None, lambda p: p.write_bytes(b"no"), lambda p: p.write_bytes(b"")])
def test_reading_a_broken_working_picture_says_what_to_do(tmp_path, write):
    write(tmp_path / "a.png")
    with pytest.raises(ImageError, match="biomedjourney register"):
        read_png(tmp_path / "a.png")


@pytest.mark.parametrize("size", [96, 128, 256, 1000])
def test_the_mark_is_small_legible_and_in_the_corner(size):
    image = np.full((size, size), 0.5, np.float32)
    marked = mark_synthetic(image)
    rows, columns = np.nonzero(marked != image)
    assert image.min() == image.max() == 0.5  # the original is untouched
    assert rows.max() < 0.13 * size and columns.max() < 0.62 * size
    assert marked[rows, columns].max() > 0.9 and marked[rows, columns].min() == 0


def test_too_small_pictures_cannot_be_marked():
    with pytest.raises(ImageError, match="96"):
        mark_synthetic(np.zeros((95, 200), np.float32))
