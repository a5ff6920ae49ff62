import json

import numpy as np
import pandas as pd
import pytest
import torch

from biomedjourney_monai.errors import ConfigError, TableError
from biomedjourney_monai.evaluation.judges.lung_outlines import OutlineNetwork, load_lung_outlines
from biomedjourney_monai.files import write_table
from biomedjourney_monai.radiographs import save_png
from biomedjourney_monai.training.judges.lung_outlines import (
    TaughtFilms,
    agree_on_outlines,
    fit_outlines,
    join_films,
    outline_loss,
    train_outlines,
)

ROWS, COLUMNS = np.indices((64, 64))


def boxes(count):
    """Films of two dark lungs and a heart that differ in place, with their outlines."""
    rng, films, outlines = np.random.default_rng(1), [], []
    for _ in range(count):
        dx, dy = rng.integers(-5, 6, 2)
        left = (abs(COLUMNS - 45 - dx) < 10) & (abs(ROWS - 30 - dy) < 20)
        right = (abs(COLUMNS - 19 - dx) < 10) & (abs(ROWS - 30 - dy) < 20)
        heart = (abs(COLUMNS - 34 - dx) < 8) & (abs(ROWS - 42 - dy) < 8)
        films.append(np.where((left | right) & ~heart, 50, 180))
        outlines.append(np.stack([left, right, heart]))
    return np.array(films, np.uint8), np.array(outlines, np.uint8)


@pytest.fixture(scope="module")
def trained():
    films, outlines = boxes(32)
    torch.manual_seed(1)
    return fit_outlines(OutlineNetwork(widths=(16, 24, 32)), TaughtFilms(films, outlines), steps=60, seed=1)


def test_training_learns_the_outlines_and_the_views_agree_on_them(trained):
    films, outlines = boxes(8)
    agreed = agree_on_outlines(trained, np.concatenate([films, np.zeros((1, 64, 64), np.uint8)]), seed=2, views=3)
    assert 1 <= len(agreed.films) <= 8  # never the black film
    assert all(film.any() for film in agreed.films)
    for film, found in zip(agreed.films, agreed.outlines):
        wanted = outlines[[np.array_equal(film, other) for other in films].index(True)]
        assert 2 * (found[:2] & wanted[:2]).sum() / (found[:2].sum() + wanted[:2].sum()) > 0.75


def test_the_loss_falls_with_overlap_and_ignores_pixels_without_a_share():
    wanted, share = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    wanted[..., :4] = 1
    good, bad = (wanted * 2 - 1) * 5, (1 - wanted * 2) * 5
    assert outline_loss(good, wanted, share) < 0.1 < outline_loss(bad, wanted, share)
    share[..., 0] = 0
    spoiled = good.clone()
    spoiled[..., 0] = -5
    assert torch.equal(outline_loss(spoiled, wanted, share), outline_loss(good, wanted, share))


def test_films_of_both_kinds_are_joined_with_their_shares():
    films, outlines = boxes(2)
    joined = join_films(TaughtFilms(films, outlines), TaughtFilms(films, outlines, outlines * 100))
    assert len(joined.films) == 4 and (joined.shares[:2] == 255).all()
    np.testing.assert_array_equal(joined.shares[2:], outlines * 100)


def test_the_weights_file_is_written_with_its_facts_and_real_training_films_are_used(tmp_path):
    films, _ = boxes(3)
    for number, film in enumerate(films):
        save_png(tmp_path / "work" / "images" / f"d{number}.png", film)
    table = pd.DataFrame({"dicom_id": ["d0", "d1", "d2"], "split": ["train", "test", "train"]})
    write_table(tmp_path / "work" / "studies.parquet", table)
    done = train_outlines(
        tmp_path / "out", images=20, steps=1, real=tmp_path / "work", films=5, real_steps=1, processes=1
    )
    facts = json.loads((tmp_path / "out" / "lung_outlines.json").read_text())
    assert load_lung_outlines(tmp_path / "out").weights_hash == facts["sha256"]
    assert done.rendered == 19 and done.real == facts["real_films"] <= 2


def test_mistakes_are_refused_before_anything_is_rendered(tmp_path):
    with pytest.raises(ConfigError, match="--images"):
        train_outlines(tmp_path / "out", images=3)
    write_table(tmp_path / "studies.parquet", pd.DataFrame({"dicom_id": ["d"], "split": ["train"]}))
    with pytest.raises(TableError, match="training films"):
        train_outlines(tmp_path / "out", real=tmp_path)
    assert not (tmp_path / "out").exists()
