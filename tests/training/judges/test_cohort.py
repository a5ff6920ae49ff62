import json
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.errors import ConfigError, TableError
from biomedjourney_monai.evaluation.judges.loading import load_judges
from biomedjourney_monai.radiographs import load_radiograph
from biomedjourney_monai.schema import CHEXPERT_LABELS, STUDIES_FILE, STUDY_COLUMNS
from biomedjourney_monai.training.judges.cohort import calibration_error, even_weights, fit_platt, train_cohort_judges
from biomedjourney_monai.training.judges.films import read_films

SHARED = ("phantom_segmenter.pt", "lung_outlines.pt")
SPLITS = ["train"] * 8 + ["validate"] * 6 + ["test"] * 4


@pytest.fixture
def work(tmp_path) -> Path:
    """A cohort of 18 studies: no group is known, one label is never named, and one file is damaged."""
    rng = np.random.default_rng(0)
    rows = []
    for place, split in enumerate(SPLITS):
        path = tmp_path / f"{place}.png"
        Image.fromarray(rng.integers(0, 256, (60, 50), np.uint8)).save(path)
        row = dict.fromkeys(STUDY_COLUMNS, "") | dict.fromkeys(CHEXPERT_LABELS, np.nan)
        row |= {"Edema": float(place % 2), "Pneumothorax": [1.0, np.nan, -1.0][place % 3]}
        row |= {"subject_id": str(place), "split": split, "image_path": str(path), "sex": "FM"[place % 2]}
        row |= {"age_at_study": np.nan if place == 1 else 40.0 + place, "anchor_age": 39.0 + place}
        rows.append(row | {"study_datetime": pandas.Timestamp("2100-01-01")})
    (tmp_path / "0.png").write_bytes(b"damaged")
    folder = tmp_path / "work"
    folder.mkdir()
    pandas.DataFrame(rows)[list(STUDY_COLUMNS)].to_parquet(folder / STUDIES_FILE)
    return folder


def test_films_are_scaled_as_a_model_sees_them_and_a_damaged_one_is_counted(work):
    films, reasons = read_films(work, processes=1)
    assert {split: len(rows) for split, rows in films.items()} == {"train": 7, "validate": 6, "test": 4}
    assert sum(reasons.values()) == 1
    seen = load_radiograph(work.parent / "8.png")
    np.testing.assert_allclose(films["validate"].images[0] / 255, seen, atol=0.5 / 255 + 1e-6)


def test_labels_follow_the_policy(work):
    train = read_films(work, processes=1)[0]["train"]  # studies 1 to 7
    assert train.labels[:, CHEXPERT_LABELS.index("Edema")].tolist() == [1, 0, 1, 0, 1, 0, 1]
    np.testing.assert_array_equal(
        train.labels[:, CHEXPERT_LABELS.index("Pneumothorax")], [0, np.nan, 1, 0, np.nan, 1, 0]
    )
    assert np.isnan(train.labels[:, CHEXPERT_LABELS.index("Fracture")]).all(), "a label that nobody has is unknown"
    assert np.isnan(train.group).all()
    assert train.sex.tolist() == [1, 0, 1, 0, 1, 0, 1]
    assert train.age.tolist()[:2] == [40, 42], "the anchor age where the age at the study is unknown"


def test_the_command_writes_judges_that_can_be_loaded_by_name(work, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("biomedjourney_monai.training.judges.cohort.RENDERED", 6)
    out = tmp_path / "models"
    arguments = ["--work", str(work), "--out", str(out), "--name", "my_site", "--steps", "2", "--processes", "1"]
    assert main(["train-judges", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "auroc Edema" in printed
    assert " 1; wrote" in printed, "the damaged film is counted with its reason"
    names = {path.name for path in out.iterdir()}
    assert names == {"my_site_classifier.pt", "my_site_domain.pt", "my_site_judges.json", *SHARED}
    facts = json.loads((out / "my_site_judges.json").read_text())
    judges = load_judges(out, kind="my_site")
    assert judges.provenance()["files"] == facts["files"]
    assert facts["films"] == {"train": 7, "validate": 6, "test": 4}
    assert 0 <= facts["performance"]["validate"]["auroc Edema"] <= 1
    assert 0 <= facts["domain"]["rendered inside"] <= 1
    assert facts["base_rates"]["Edema"] == pytest.approx(4 / 7, abs=1e-4)


def test_a_cohort_without_validation_patients_is_refused_before_the_training(work, tmp_path):
    table = pandas.read_parquet(work / STUDIES_FILE)
    table[table["split"] != "validate"].to_parquet(work / STUDIES_FILE)
    with pytest.raises(TableError, match="validate"):
        train_cohort_judges(work, tmp_path / "models", steps=1, processes=1)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("settings", [{"name": "phantom"}, {"name": "My site"}, {"name": "auto"}, {"steps": 0}])
def test_settings_that_cannot_be_used_are_refused(work, tmp_path, settings):
    with pytest.raises(ConfigError):
        train_cohort_judges(work, tmp_path / "models", processes=1, **settings)


def drawn(count=20000, *, share=0.1, seed=0):
    """Logits that are twice too large and shifted, of labels with this share of positives."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < share).astype(float)
    evidence = rng.normal(np.where(labels == 1, 1.0, -1.0), 1.0)  # the log odds at even prior are 2 x
    return 4 * evidence + 3, labels, 2 * evidence


def test_the_fit_gives_the_log_odds_at_even_prior():
    logits, labels, expected = drawn()
    slope, offset = fit_platt(logits, labels)
    assert slope == pytest.approx(0.5, abs=0.03)
    assert offset == pytest.approx(-1.5, abs=0.1)
    assert np.abs(slope * logits + offset - expected).max() < 0.7


def test_unknown_labels_have_no_part():
    logits, labels, _ = drawn(2000)
    more = np.concatenate([logits, np.full(500, 99.0)]), np.concatenate([labels, np.full(500, np.nan)])
    assert fit_platt(*more) == pytest.approx(fit_platt(logits, labels))


@pytest.mark.parametrize("labels", [np.zeros(5), np.ones(5), np.full(5, np.nan)])
def test_one_class_gives_the_identity(labels):
    assert fit_platt(np.arange(5.0), labels) == (1.0, 0.0)
    assert np.isnan(calibration_error(np.full(5, 0.5), labels))


def test_a_reversed_ranking_is_not_turned_round():
    logits, labels, _ = drawn(2000)
    assert fit_platt(-logits, labels) == (1.0, 0.0)


def test_the_error_is_the_mean_gap_of_the_bins():
    labels = np.array([1.0, 1.0, 0.0, 0.0])
    assert calibration_error(np.array([0.75, 0.75, 0.25, 0.25]), labels) == pytest.approx(0.25)
    assert calibration_error(np.array([1.0, 1.0, 0.0, 0.0]), labels) == 0


def test_calibration_lowers_the_error():
    logits, labels, expected = drawn()
    before, after = (calibration_error(1 / (1 + np.exp(-x)), labels) for x in (logits, expected))
    assert after < 0.02 < before


def test_both_classes_weigh_one_half():
    np.testing.assert_allclose(even_weights(np.array([1.0, 0, 0, np.nan])), [0.5, 0.25, 0.25, 0])
