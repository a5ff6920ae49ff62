from pathlib import Path

import cv2
import numpy as np
import pytest

from biomedjourney_monai.radiographs import load_radiograph, save_png
from biomedjourney_monai.radiographs.scaling import letterbox
from biomedjourney_monai.radiographs.views.framing import framing_fault

CASE = Path(__file__).parents[4] / "shared" / "cases" / "photo-of-film-with-border" / "photo_film.jpg"


@pytest.fixture
def chest(rendered_chest):
    """210 rows and 180 columns."""
    return cv2.resize(rendered_chest, (180, 210), interpolation=cv2.INTER_AREA)


def judged(pixels, tmp_path):
    """As a file is read: scaled, and in the model's square."""
    save_png(tmp_path / "a.png", pixels)
    return framing_fault(load_radiograph(tmp_path / "a.png", size=128))


def in_frame(chest, margins, grey, *, noise=0.0):
    """The chest on a table; margins in pixels: top, bottom, left, right."""
    top, bottom, left, right = margins
    shape = chest.shape[0] + top + bottom, chest.shape[1] + left + right
    table = np.full(shape, grey) + np.random.default_rng(0).normal(0, noise, shape)
    table[top : top + chest.shape[0], left : left + chest.shape[1]] = chest
    return np.clip(table, 0, 1).astype(np.float32)


def test_a_chest_has_no_fault_with_or_without_unexposed_edges(chest, tmp_path):
    assert judged(chest, tmp_path) == ""
    for margins in ((20, 20, 0, 0), (0, 0, 15, 15), (10, 10, 10, 10)):
        assert judged(in_frame(chest, margins, 0.0), tmp_path) == ""


@pytest.mark.parametrize("grey, noise", [(0.67, 0.0), (0.3, 0.02), (1.0, 0.0), (0.8, 0.05)])
@pytest.mark.parametrize("margins", [(45, 45, 90, 90), (30, 30, 30, 30), (0, 40, 40, 40), (0, 0, 60, 60)])
def test_a_film_on_a_table_is_found(chest, tmp_path, margins, grey, noise):
    assert judged(in_frame(chest, margins, grey, noise=noise), tmp_path) == "bordered"


def test_a_small_film_on_a_black_table_is_found(chest, tmp_path):
    assert judged(in_frame(chest, (90, 90, 120, 120), 0.0), tmp_path) == "bordered"


@pytest.mark.parametrize("factors", [(2, 1), (1, 2), (0.5, 1), (1, 0.5)])
def test_a_chest_at_twice_its_proportions_is_found_also_in_a_letterbox(chest, tmp_path, factors):
    height, width = (round(side * factor) for side, factor in zip(chest.shape, factors, strict=True))
    stretched = cv2.resize(chest, (width, height))
    assert judged(stretched, tmp_path) == "stretched"
    assert judged(letterbox(stretched, size=300)[0], tmp_path) == "stretched"


def test_the_photograph_of_a_film_is_found():
    if not CASE.is_file():
        pytest.skip("the cases are not here")
    assert framing_fault(load_radiograph(CASE, size=128)) == "bordered"


def test_an_empty_picture_has_no_frame():
    assert framing_fault(np.zeros((128, 128), np.float32)) == ""
