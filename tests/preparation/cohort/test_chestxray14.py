import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from biomedjourney_monai.errors import ConfigError, TableError
from biomedjourney_monai.preparation.cohort.chestxray14 import read_chestxray14, read_labels
from biomedjourney_monai.preparation.cohort.run import find_studies
from biomedjourney_monai.preparation.journeys import build_journeys, find_journeys
from biomedjourney_monai.preparation.registration.run import register_pairs
from biomedjourney_monai.schema import CHEXPERT_LABELS, STUDY_COLUMNS

SHARED = Path(__file__).resolve().parents[4] / "shared" / "chestxray14"
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
ROWS = (
    ("00000001_000.png", "Cardiomegaly", 0, 1, "058", "M", "PA"),
    ("00000001_002.png", "No Finding", 2, 1, "059", "M", "PA"),
    ("00000001_001.png", "Effusion|Mass", 1, 1, "400", "M", "AP"),
    ("00000002_000.png", "No Finding", 0, 2, "155", "F", "PA"),
    ("00000003_000.png", "Edema", 0, 3, "40", "F", "PA"),
    ("00000004_000.png", "Hernia", 0, 4, "41", "F", "PA"),
)


def write_source(
    root: Path, rows=ROWS, *, table="Data_Entry_2017_v2020.csv", unit="", tests=("00000003_000.png",)
) -> Path:
    """A small data set as published; `unit` is written after each age."""
    root.mkdir(parents=True, exist_ok=True)
    lines = [",".join(map(str, (*row[:4], f"{row[4]}{unit}", *row[5:], 2682, 2749, 0.143, 0.143))) for row in rows]
    (root / table).write_text("\n".join([HEADER, *lines]) + "\n")
    (root / "test_list.txt").write_text("\n".join(tests))
    (root / "train_val_list.txt").write_text("\n".join(row[0] for row in rows if row[0] not in tests))
    for number, row in enumerate(rows):
        folder = root / f"images_{number % 2 + 1:03d}" / "images"
        folder.mkdir(parents=True, exist_ok=True)
        mode = "RGBA" if row[0] == "00000003_000.png" else "L"
        Image.fromarray(np.full((8, 8), 90, np.uint8)).convert(mode).save(folder / row[0])
    return root


@pytest.mark.parametrize(("table", "unit"), [("Data_Entry_2017_v2020.csv", ""), ("Data_Entry_2017.csv", "Y")])
def test_both_releases_give_the_same_studies(tmp_path, table, unit):
    found = find_studies(write_source(tmp_path / "nih", table=table, unit=unit), tmp_path, kind="chestxray14", seed=1)
    studies = found.studies.set_index("study_id")
    assert tuple(found.studies.columns) == (*STUDY_COLUMNS, "order_from")
    assert list(studies.index) == ["00000001_000", "00000001_002", "00000002_000", "00000003_000"]
    assert studies["age_at_study"].fillna(-1).tolist() == [58, 59, -1, 40]
    assert studies["anchor_age"].fillna(-1).tolist() == [58, 58, -1, 40]
    assert studies["sex"].tolist() == ["M", "M", "F", "F"] and set(studies["race"]) == {""}
    assert studies.loc["00000003_000", "split"] == "test" and "test" not in set(studies["split"][:3])
    assert found.counts["images_flagged"] == {"RGBA": 1, "age unknown or impossible": 1}
    assert found.counts["images_dropped"] == {"view not PA": 1}
    assert found.counts["studies_dropped"] == {"no PA image": 1, "labels not eligible": 1}  # a hernia has no label
    assert found.counts["order_from"] == {"follow-up number": 4}


def test_findings_are_translated_and_what_nih_never_names_stays_unknown():
    labels = read_labels(pd.Series(["Effusion|Nodule", "No Finding", "Infiltration|Pleural_Thickening"]))
    assert labels["Pleural Effusion"].tolist() == [1, 0, 0] and labels["Lung Lesion"].tolist() == [1, 0, 0]
    assert labels["No Finding"].tolist() == [0, 1, 0] and labels["Lung Opacity"].tolist() == [0, 0, 1]
    assert labels["Pleural Other"].tolist() == [0, 0, 1] and tuple(labels.columns) == CHEXPERT_LABELS
    unknown = ["Enlarged Cardiomediastinum", "Fracture", "Support Devices"]
    assert labels[unknown].isna().all().all() and labels.drop(columns=unknown).notna().all().all()


def test_follow_ups_order_the_films_without_claiming_days(tmp_path):
    root = write_source(tmp_path / "nih")
    studies = find_studies(root, tmp_path, kind="chestxray14", views=("PA", "AP")).studies
    own = studies[studies["subject_id"] == "00000001"]
    assert own["study_id"].tolist() == ["00000001_000", "00000001_001", "00000001_002"]
    assert own["view_position"].tolist() == ["PA", "AP", "PA"]
    found = find_journeys(tmp_path, visits_apart=None)
    assert found.journeys["days_between"].isna().all() and len(found.journeys) == 3
    assert json.loads((tmp_path / "journeys_drops.json").read_text())["order_from"] == {"follow-up number": 3}
    journeys, drops = build_journeys(studies, max_days=30)
    assert journeys.empty and drops == {"interval unknown": 2}


def test_validation_patients_come_from_the_training_list_and_by_the_seed(tmp_path):
    rows = [(f"{n:08d}_000.png", "Edema", 0, n, "50", "F", "PA") for n in range(60)]
    tests = tuple(row[0] for row in rows[:20])
    root = write_source(tmp_path, rows, tests=tests)
    drawn = [read_chestxray14(root, validation_share=0.3, seed=seed).split for seed in (0, 0, 1)]
    assert (drawn[0][:20] == "test").all() and 5 <= (drawn[0] == "validate").sum() <= 20
    assert drawn[0].equals(drawn[1]) and not drawn[0].equals(drawn[2])
    assert (read_chestxray14(root, validation_share=0).split[20:] == "train").all()


def test_what_is_wrong_is_left_out_and_counted(tmp_path):
    rows = [
        *ROWS,
        ("00000005_000.png", "Gout", 0, 5, "50", "F", "PA"),
        ("00000006_000.png", "Edema", "x", 6, "", "", "PA"),
    ]
    rows += [("00000007_000.png", "Edema", 0, 7, "50", "F", "PA"), ("00000007_001.png", "Edema", 1, 7, "50", "F", "PA")]
    rows += [("00000008_000.png", "Edema", 0, 8, "50", "F", "PA")]
    root = write_source(tmp_path / "nih", rows, tests=("00000003_000.png", "00000007_001.png"))
    for name in ("00000099_000.png", "00000001_000.png"):
        (root / "images").mkdir(exist_ok=True)
        (root / "images" / name).touch()
    next(root.rglob("00000008_000.png")).unlink()
    counts = find_studies(root, tmp_path, kind="chestxray14").counts
    assert counts["images_dropped"] == {
        "row malformed": 1,
        "label unknown": 1,
        "patient in two splits": 2,
        "the same image again": 1,
        "no row in the table": 1,
        "view not PA": 1,
        "image file missing": 1,
    }
    assert counts["kept"] == 4


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (lambda root: next(root.glob("Data*")).unlink(), "Data_Entry_2017"),
        (lambda root: (root / "test_list.txt").unlink(), "test_list.txt"),
        (lambda root: [path.unlink() for path in root.rglob("*.png")], "films that its table names"),
        (lambda root: next(root.glob("Data*")).write_text("Image Index,Patient ID\n1,2\n"), "Finding Labels"),
        (lambda root: next(root.glob("Data*")).write_bytes(b"\xff\xfe\x00\x81"), "CSV|column"),
        (lambda root: next(root.glob("Data*")).write_text(HEADER + "\n"), "empty"),
    ],
)
def test_a_folder_that_is_not_the_data_set_is_refused_and_nothing_written(tmp_path, damage, rule):
    root = write_source(tmp_path / "nih")
    damage(root)
    with pytest.raises(TableError, match=rule):
        find_studies(root, tmp_path / "work", kind="chestxray14")
    assert not (tmp_path / "work").exists()


def test_settings_of_other_sources_are_refused(tmp_path):
    root = write_source(tmp_path / "nih")
    for settings in ({"split": "paper"}, {"labels": "negbio"}, {"reports": "x"}, {"pseudonym_key": "x"}, {"views": ()}):
        with pytest.raises(ConfigError):
            find_studies(root, tmp_path / "work", kind="chestxray14", **settings)


def test_real_films_become_registered_pairs(tmp_path):
    if not SHARED.is_dir():
        pytest.skip(f"needs ChestX-ray14 in {SHARED}")
    found = find_studies(SHARED, tmp_path, kind="chestxray14", views=("PA", "AP"))
    assert len(found.studies) > 9_000 and set(found.studies["split"]) == {"train", "validate", "test"}
    found.studies.head(24).to_parquet(tmp_path / "studies.parquet")
    assert len(find_journeys(tmp_path).journeys) >= 4
    assert register_pairs(tmp_path, processes=1).pairs["kept"].sum() >= 3
