import numpy as np
import pytest
from PIL import Image

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs import mark_synthetic, save_png
from biomedjourney_monai.radiographs.pictures.maps import overlay_map
from biomedjourney_monai.radiographs.pictures.strips import Frame, draw_strip, save_gif, wrap

GREY = np.full((120, 128), 0.5, np.float32)


def label_pixels():
    on_black, on_white = (mark_synthetic(np.full(GREY.shape, ground, np.float32)) for ground in (0, 1))
    return on_black == on_white, on_black


def test_a_strip_keeps_the_order_and_marks_what_is_synthetic():
    dark, bright = Frame(GREY * 0.2, ("prior",), is_synthetic=False), Frame(GREY * 1.8, ("after",))
    strip = draw_strip([dark, bright])
    assert strip.shape[1] == 2 * 128 + 4
    assert strip[60, 64] < 50 < 200 < strip[60, 128 + 4 + 64]
    where, label = label_pixels()
    second = strip[:120, 132:]
    assert np.abs(second[where] / 255 - label[where]).max() < 0.01
    assert np.abs(strip[:120, :128][where] / 255 - label[where]).max() > 0.5  # says PRIOR instead


def test_words_are_wrapped_and_pictures_stay_of_one_height():
    lines = wrap("New moderate left pleural effusion with some more words", width=128)
    assert len(lines) > 1 and " ".join(lines).endswith("more words")
    strip = draw_strip([Frame(GREY, ("one",)), Frame(GREY, ("New moderate left pleural effusion, and more",))])
    assert strip.shape[0] > 120 + 15


def test_a_strip_of_nothing_or_of_two_sizes_is_refused():
    for frames in ([], [Frame(GREY), Frame(GREY[:100])]):
        with pytest.raises(ImageError, match="one size"):
            draw_strip(frames)


def test_an_animation_holds_every_frame_and_says_what_it_is(tmp_path):
    save_gif(tmp_path / "a.gif", [Frame(GREY * n, (str(n),)) for n in (0.5, 1, 1.5)], metadata={"Comment": "SYNTHETIC"})
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 3
        assert b"SYNTHETIC" in animation.info["comment"]
        assert animation.info["loop"] == 0


def test_a_map_is_coloured_where_it_is_high_and_grey_where_it_is_zero(tmp_path):
    values = np.zeros_like(GREY)
    values[60:, 64:] = 0.3
    picture = overlay_map(GREY, values, highest=0.6, caption="0 to 0.6")
    high, low = picture[200, 220].astype(int), picture[60, 60].astype(int)
    assert np.ptp(low) == 0
    assert np.ptp(high) > 20
    save_png(tmp_path / "a.png", picture, metadata={"Comment": "SYNTHETIC"})
    with Image.open(tmp_path / "a.png") as image:
        assert (image.mode, image.text["Comment"]) == ("RGB", "SYNTHETIC")
    assert picture[:20, :60].max() == 255  # the mark


def test_the_mark_lies_over_the_colours():
    picture = overlay_map(np.zeros((256, 256), np.float32), np.ones((256, 256)), highest=1, caption="")
    plain = mark_synthetic(np.zeros((256, 256), np.float32))
    white = mark_synthetic(np.ones((256, 256), np.float32))
    where = plain == white
    assert np.abs(picture[:256][where] / 255 - plain[where][:, None]).max() < 0.01
