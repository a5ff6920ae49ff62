from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs import load_radiograph, load_with_content, original_size
from biomedjourney_monai.radiographs.read import photographs

REAL = Path(__file__).parents[2].parent / "shared" / "real-cxr" / "images"


def picture(height: int = 240, width: int = 200) -> np.ndarray:
    """Smooth and lopsided: bright at the lower right, with a dark lung each side."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y, x = y / height, x / width
    image = 0.3 + 0.3 * x + 0.3 * y - 0.3 * np.exp(-(((x - 0.3) / 0.1) ** 2 + ((y - 0.4) / 0.2) ** 2))
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def save(path: Path, image: np.ndarray | Image.Image, **options) -> Path:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, **options)
    return path


@pytest.fixture
def reference(tmp_path: Path) -> np.ndarray:
    return load_radiograph(save(tmp_path / "reference.png", picture()), size=64)


def test_the_result_is_a_scaled_square(reference):
    assert reference.shape == (64, 64) and reference.dtype == np.float32
    assert reference.min() == 0 and reference.max() == 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "CMYK", "I;16"])
def test_every_mode_gives_the_same_radiograph(tmp_path, reference, mode):
    grey = Image.fromarray(picture())
    if mode == "I;16":
        image = Image.fromarray(picture().astype(np.uint16) * 257)
    else:
        image = grey.convert("RGB").convert(mode) if mode in ("P", "CMYK") else grey.convert(mode)
    suffix, options = (".jpg", {"quality": 98}) if mode == "CMYK" else (".png", {})
    loaded = load_radiograph(save(tmp_path / f"image{suffix}", image, **options), size=64)
    assert np.abs(loaded - reference).mean() < 0.02


@pytest.mark.parametrize("height", [240, 960, 1920, 2400])
def test_a_jpeg_decoded_at_reduced_scale_looks_the_same(tmp_path, height):
    image = picture(height, height * 5 // 6)
    reduced = load_radiograph(save(tmp_path / "image.jpg", image, quality=95), size=64)
    full = load_radiograph(save(tmp_path / "image.png", image), size=64)
    assert np.abs(reduced - full).mean() < 0.01


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_exif_orientation_is_applied(tmp_path, reference, suffix, orientation):
    turned = np.rot90(picture(), {3: 2, 6: 1, 8: 3}[orientation])
    exif = Image.Exif()
    exif[photographs.ORIENTATION_TAG] = orientation
    path = save(tmp_path / f"turned{suffix}", np.ascontiguousarray(turned), exif=exif)
    assert original_size(path) == (240, 200)
    assert np.abs(load_radiograph(path, size=64) - reference).mean() < 0.02


def test_transparent_parts_are_black(tmp_path):
    opacity = np.full((240, 200), 255, np.uint8)
    opacity[:, :40] = 0
    path = save(tmp_path / "image.png", Image.merge("LA", (Image.fromarray(picture()), Image.fromarray(opacity))))
    image, content = load_with_content(path, size=64)
    assert image[content].reshape(64, -1)[:, :8].max() == 0


def test_left_stays_left_and_up_stays_up(tmp_path):
    image = picture()
    image[10:40, 10:40] = 255  # a marker in the upper left corner
    loaded = load_radiograph(save(tmp_path / "image.jpg", image, quality=95), size=64)
    assert loaded[4:10, 9:14].mean() > 0.95
    assert loaded[4:10, 50:55].mean() < 0.8


def test_the_content_mask_leaves_out_the_letterbox(tmp_path):
    image, content = load_with_content(save(tmp_path / "image.png", picture(240, 120)), size=64)
    assert content.sum() == 64 * 32
    assert image[~content].max() == 0


def test_the_name_does_not_decide_the_format(tmp_path, reference):
    save(tmp_path / "image.png", picture())
    (tmp_path / "image.png").rename(tmp_path / "image.jpg")
    assert np.array_equal(load_radiograph(tmp_path / "image.jpg", size=64), reference)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("kept", [0.95, 0.5, 0.1, 0.01])
def test_truncated_images_are_refused(tmp_path, suffix, kept):
    rng = np.random.default_rng(0)
    path = save(tmp_path / f"image{suffix}", rng.integers(0, 255, (200, 200), np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ImageError):
        load_radiograph(path)


def test_a_truncated_jpeg_with_a_whole_thumbnail_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    thumbnail = save(tmp_path / "small.jpg", picture(40, 40)).read_bytes()
    exif = Image.Exif()
    exif[0x010E] = "description"
    data = save(tmp_path / "image.jpg", rng.integers(0, 255, (300, 300), np.uint8), exif=exif).read_bytes()
    segment = b"\xff\xe2" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail  # an APP2 segment
    (tmp_path / "image.jpg").write_bytes((data[:2] + segment + data[2:])[: len(data) // 2])
    with pytest.raises(ImageError, match="whole"):
        load_radiograph(tmp_path / "image.jpg")


def test_constant_images_are_refused(tmp_path):
    with pytest.raises(ImageError, match="contrast"):
        load_radiograph(save(tmp_path / "image.png", np.full((50, 50), 7, np.uint8)))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\x1f\x8b\x08\x00junk"])
def test_what_is_no_image_is_refused_without_naming_the_file(tmp_path, content):
    path = tmp_path / "p10000032.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        load_radiograph(path)
    assert "p10000032" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["absent.jpg", ".", "a\0b"])
def test_missing_files_are_refused(tmp_path, name):
    with pytest.raises(ImageError):
        load_radiograph(str(tmp_path / "x") + name if "\0" in name else tmp_path / name)


def test_too_many_pixels_are_refused_before_decoding(tmp_path, monkeypatch):
    path = save(tmp_path / "image.png", picture())
    monkeypatch.setattr(photographs, "MAX_PIXELS", 240 * 200 - 1)
    monkeypatch.setattr(photographs, "_grey", lambda image: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="at most 47,999 pixels"):
        load_radiograph(path)


def test_a_decompression_bomb_is_refused(tmp_path):
    data = bytearray(save(tmp_path / "image.png", picture()).read_bytes())
    data[16:24] = (60000).to_bytes(4, "big") * 2  # a header that claims 3.6 billion pixels
    (tmp_path / "image.png").write_bytes(data)
    with pytest.raises(ImageError):
        load_radiograph(tmp_path / "image.png")


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400), magic=st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"\x1f\x8b", b""]))
def test_no_bytes_raise_anything_but_an_image_error(tmp_path_factory, data, magic):
    path = tmp_path_factory.mktemp("fuzz") / "image"
    path.write_bytes(magic + data)
    with pytest.raises(ImageError):
        load_radiograph(path)


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 10_000), value=st.integers(0, 255), suffix=st.sampled_from([".jpg", ".png"]))
def test_one_wrong_byte_never_crashes(tmp_path_factory, place, value, suffix):
    folder = tmp_path_factory.mktemp("byte")
    data = bytearray(save(folder / f"image{suffix}", picture(60, 50)).read_bytes())
    data[place % len(data)] = value
    (folder / "image").write_bytes(data)
    try:
        image = load_radiograph(folder / "image", size=32)
    except ImageError:
        return
    assert image.shape == (32, 32) and 0 <= image.min() <= image.max() <= 1


def test_real_radiographs_of_every_kind_load():
    if not REAL.is_dir():
        pytest.skip("the real radiographs are not beside the project")
    for path in sorted(REAL.iterdir())[::3]:
        image = load_radiograph(path, size=64)
        assert image.shape == (64, 64) and 0.1 < image.mean() < 0.9
        assert cv2.Laplacian(image, cv2.CV_32F).std() > 0.01
