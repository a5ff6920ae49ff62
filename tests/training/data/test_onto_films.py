import json

import numpy as np
import pandas as pd
import pytest

from biomedjourney_monai.errors import ConfigError, TableError
from biomedjourney_monai.files import read_json_lines, read_table, write_table
from biomedjourney_monai.phantom.anatomy import draw_anatomy
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.physics import draw_acquisition
from biomedjourney_monai.phantom.render import lung_fields, render
from biomedjourney_monai.radiographs import read_png, save_png
from biomedjourney_monai.schema import CHEXPERT_LABELS, PAIR_COLUMNS, STUDY_COLUMNS
from biomedjourney_monai.training.data import onto_films
from biomedjourney_monai.training.data.latents import SINGLE_KEYS, TRIPLE_KEYS

SIZE = 64
CLEAR = {"No Finding": 1.0, "Pleural Effusion": 0.0, "Edema": 0.0}


class FixedOutlines:
    """Outlines of the one anatomy that all films of these tests show; of a black film none."""

    weights_hash = "fixed"

    def __init__(self):
        anatomy, acquisition = draw_anatomy(3, sex="M", age=50, group=0), draw_acquisition(4)
        drawing = render(anatomy, acquisition, FindingState(), size=SIZE, with_masks=True)
        fields = lung_fields(anatomy, acquisition, FindingState(), size=SIZE)
        self.film, self.outlines = drawing.image, np.concatenate([fields, drawing.masks[2:3]]).astype(bool)

    def outline(self, images):
        return np.stack([self.outlines & bool(image.max() > 0) for image in images.numpy()])


@pytest.fixture
def work(tmp_path, monkeypatch):
    fixed = FixedOutlines()
    monkeypatch.setattr(onto_films, "load_lung_outlines", lambda weights: fixed)
    monkeypatch.setattr(onto_films, "_outlines", lambda weights: fixed)
    folder = tmp_path / "work"
    rows = []
    for number in range(6):
        row = dict.fromkeys(STUDY_COLUMNS, "") | dict.fromkeys(CHEXPERT_LABELS, np.float32("nan"))
        row |= {"subject_id": f"p{number}", "study_id": f"s{number}", "dicom_id": f"d{number}", "sex": "F"}
        row |= {"split": "test" if number == 5 else "train", "anchor_age": 50.0, "age_at_study": 50.0, **CLEAR}
        row |= {"study_datetime": pd.Timestamp("2020-01-01"), "view_position": "PA"}
        save_png(folder / "images" / f"d{number}.png", fixed.film)
        rows.append(row)
    write_table(folder / "studies.parquet", pd.DataFrame(rows)[list(STUDY_COLUMNS)])
    return folder


def edit(work, number, **values):
    table = pd.read_parquet(work / "studies.parquet")
    for name, value in values.items():
        table.loc[number, name] = value
    write_table(work / "studies.parquet", table)


def test_the_folder_has_the_pipelines_own_files(work, tmp_path):
    out = tmp_path / "onto"
    written = onto_films.write_onto(work, out, cases=4, seed=1, size=SIZE)
    assert (written.films, written.journeys, written.left_out) == (6, 24, {})
    triples = read_json_lines(out / "triples.jsonl", made_by="phantom", keys=TRIPLE_KEYS)
    singles = read_json_lines(out / "singles.jsonl", made_by="phantom", keys=SINGLE_KEYS)
    pairs = read_table(out / "pairs.parquet", columns=PAIR_COLUMNS, made_by="phantom")
    studies = read_table(out / "studies.parquet", columns=STUDY_COLUMNS, made_by="phantom")
    assert len(triples) == len(pairs) == 24 and pairs["kept"].all()
    assert {row["image"] for row in singles} == {f"images/{name}.png" for name in studies["dicom_id"]}
    assert sum(row["split"] == "test" for row in triples) == 4
    for row in triples:
        assert read_png(out / row["prior_image"]).shape == read_png(out / row["valid_mask"]).shape == (SIZE, SIZE)


def test_the_description_says_what_differs_between_the_two_images(work, tmp_path):
    out = tmp_path / "onto"
    onto_films.write_onto(work, out, cases=12, seed=1, size=SIZE)
    film = read_png(work / "images" / "d0.png")
    for row in read_json_lines(out / "triples.jsonl", made_by="phantom"):
        prior, new = read_png(out / row["prior_image"]), read_png(out / row["new_image"])
        text = row["progression_description"].lower()
        assert (row["kind"] == "same") == np.array_equal(prior, new)
        if not any(row["prior_rendered"].values()):
            np.testing.assert_array_equal(prior, film)
        if row["finding"] == "Pleural Effusion" and row["kind"] in ("new", "resolved"):
            assert "effusion" in text
            sides = {
                side
                for side in ("left", "right")
                for time in ("prior", "new")
                if row[f"{time}_rendered"][f"effusion_{side}"]
            }
            assert sides == {"left", "right"} or text.count(sides.pop()) >= 1


def test_a_film_gets_no_finding_that_its_labels_do_not_exclude(work, tmp_path):
    for number in range(6):
        edit(work, number, **{"No Finding": 0.0, "Pleural Effusion": 1.0, "Edema": 0.0})
    onto_films.write_onto(work, tmp_path / "onto", cases=5, seed=1, size=SIZE)
    rows = read_json_lines(tmp_path / "onto" / "triples.jsonl", made_by="phantom")
    assert {row["finding"] for row in rows} == {"Edema", ""}
    assert not any(row["new_rendered"]["effusion_left"] for row in rows)
    assert all("effusion" in row["new_impression"].lower() for row in rows)


def test_films_that_cannot_be_used_are_counted_with_their_reason(work, tmp_path):
    save_png(work / "images" / "d1.png", np.zeros((SIZE, SIZE), np.uint8))
    (work / "images" / "d2.png").unlink()
    written = onto_films.write_onto(work, tmp_path / "onto", seed=1, size=SIZE)
    assert written.films == 4 and sum(written.left_out.values()) == 2
    assert written.left_out["lungs not outlined"] == 1
    assert json.loads((tmp_path / "onto" / "onto.json").read_text())["left_out"] == written.left_out


def test_a_stopped_run_resumes_with_the_same_files(work, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    onto_films.write_onto(work, whole, seed=2, size=SIZE)
    onto_films.write_onto(work, parts, seed=2, size=SIZE)
    lines = (parts / "onto_films.jsonl").read_text().splitlines(keepends=True)
    (parts / "onto_films.jsonl").write_text("".join(lines[:2]))
    kept = parts / "images" / "f000000-0.png"
    before = kept.stat().st_mtime_ns
    onto_films.write_onto(work, parts, seed=2, size=SIZE)
    assert kept.stat().st_mtime_ns == before
    for name in ("triples.jsonl", "singles.jsonl", *(f"images/{p.name}" for p in (whole / "images").iterdir())):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()


def test_another_seed_or_folder_is_refused(work, tmp_path):
    onto_films.write_onto(work, tmp_path / "onto", films=2, seed=2, size=SIZE)
    with pytest.raises(ConfigError, match="found other seed"):
        onto_films.write_onto(work, tmp_path / "onto", films=2, seed=3, size=SIZE)
    with pytest.raises(ConfigError, match="another folder"):
        onto_films.write_onto(work, work, seed=3, size=SIZE)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(ConfigError, match="other contents"):
        onto_films.write_onto(work, tmp_path / "mine", seed=3, size=SIZE)
    with pytest.raises(ConfigError, match=">= 1"):
        onto_films.write_onto(work, tmp_path / "new", films=0, size=SIZE)


def test_films_with_unknown_labels_do_not_qualify(work, tmp_path):
    for number in range(6):
        edit(work, number, **{"No Finding": np.nan, "Pleural Effusion": np.nan, "Edema": np.nan})
    with pytest.raises(TableError, match="free of a finding"):
        onto_films.write_onto(work, tmp_path / "onto", seed=1, size=SIZE)
    assert not (tmp_path / "onto").exists()
