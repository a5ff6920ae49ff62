import numpy as np
import pytest

from biomedjourney_monai.errors import ImageError, TableError
from biomedjourney_monai.evaluation.page import sheet as report_sheet
from biomedjourney_monai.evaluation.page.sheet import TILE, draw_sheet, save_sheet
from biomedjourney_monai.evaluation.systems.sources import read_counterfactuals, read_picture
from biomedjourney_monai.radiographs import mark_synthetic, read_png
from biomedjourney_monai.radiographs.read.marked_files import carries_mark


def tiles_of(sheet):
    """The four pictures of a sheet's last row, float in [0, 1]."""
    return [sheet[-TILE:, column : column + TILE] / 255 for column in range(0, 4 * TILE, TILE)]


def test_the_four_pictures_of_a_journey_are_its_own(work, monkeypatch):
    drawn = []
    monkeypatch.setattr(report_sheet, "wrap", lambda text, width: drawn.append(text) or [text])
    sheet = draw_sheet(work, count=1, seed=3)
    (number,) = [int(text.split()[-1].rstrip(".")) for text in drawn]  # "New effusion number 4."
    prior, new = (read_picture(work, f"images/j{number:06}_{name}.png") for name in ("prior", "new"))
    counterfactual = read_counterfactuals(work / "samples").image({"journey_id": f"j{number:06}"})
    expected = [prior, counterfactual, new, np.clip(128 / 255 + 1.5 * (counterfactual - prior), 0, 1)]
    for place, (tile, image) in enumerate(zip(tiles_of(sheet), expected, strict=True)):
        small = tile.reshape(32, TILE // 32, 32, TILE // 32).mean(axis=(1, 3))
        start = 4 if place == 1 else 0  # below the mark
        likeness = np.corrcoef(small[start:].ravel(), image[start:].ravel())[0, 1]
        assert likeness > 0.9, place  # bicubic enlarging sharpens the noise that these pictures are


def test_the_counterfactual_alone_is_marked(work):
    label = mark_synthetic(np.zeros((TILE, TILE)))
    rows, columns = (slice(0, values.max() + 1) for values in np.nonzero(label))
    marked = [np.abs(tile - label)[rows, columns].max() < 0.01 for tile in tiles_of(draw_sheet(work, count=1, seed=0))]
    assert marked == [False, True, False, False]


def test_the_seed_draws_the_journeys_and_they_keep_their_order(work, monkeypatch):
    drawn = []
    monkeypatch.setattr(report_sheet, "wrap", lambda text, width: drawn.append(text) or [text])
    ids = [n for n in range(12) if n % 6 != 5]
    draw_sheet(work, count=4, seed=7)
    places = sorted(np.random.default_rng(7).choice(10, 4, replace=False))
    assert [int(text.split()[-1].rstrip(".")) for text in drawn] == [ids[place] for place in places]
    drawn.clear()
    draw_sheet(work, count=99, seed=0)
    assert len(drawn) == 10


@pytest.mark.parametrize("name", ["sheet.jpg", "sheet.png"])
def test_the_file_carries_the_mark_in_its_metadata(work, name):
    save_sheet(work / name, draw_sheet(work, count=1, seed=0))
    assert carries_mark(work / name)


def test_a_png_holds_the_sheets_very_pixels(work):
    sheet = draw_sheet(work, count=2, seed=0)
    save_sheet(work / "sheet.png", sheet)
    assert np.array_equal(np.rint(read_png(work / "sheet.png") * 255), sheet)


def test_without_samples_and_without_pictures_there_is_no_sheet(work):
    (work / "images" / "j000000_prior.png").unlink()
    with pytest.raises(ImageError):
        draw_sheet(work, count=10, seed=0)
    (work / "samples" / "samples.jsonl").unlink()
    (work / "samples" / "counterfactuals.npy").unlink()
    with pytest.raises(TableError, match="biomedjourney sample"):
        draw_sheet(work, count=1, seed=0)
