import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from biomedjourney_monai.errors import ConfigError, TableError
from biomedjourney_monai.preparation.cohort.chexpert import read_chexpert, read_header_date
from biomedjourney_monai.preparation.cohort.run import find_studies
from biomedjourney_monai.preparation.journeys import build_journeys
from biomedjourney_monai.schema import CHEXPERT_LABELS


def save_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save(path)


def write_plain(root: Path) -> Path:
    """CheXpert: two patients in train, one in valid."""
    rows = {
        "train.csv": [
            ("train/patient00001/study1/view1_frontal.jpg", "Female", 68, "Frontal", "PA", {"Edema": -1.0}),
            ("train/patient00001/study2/view1_frontal.jpg", "Female", 69, "Frontal", "AP", {"Edema": 1.0}),
            ("train/patient00001/study2/view2_lateral.jpg", "Female", 69, "Lateral", "", {"Edema": 1.0}),
            ("train/patient00002/study1/view1_frontal.jpg", "Unknown", 0, "Frontal", "PA", {"No Finding": 1.0}),
        ],
        "valid.csv": [("valid/patient00003/study1/view1_frontal.jpg", "Male", 50, "Frontal", "PA", {"Edema": 1.0})],
    }
    for name, images in rows.items():
        table = []
        for path, sex, age, side, view, labels in images:
            row = {
                "Path": f"CheXpert-v1.0-small/{path}",
                "Sex": sex,
                "Age": age,
                "Frontal/Lateral": side,
                "AP/PA": view,
            }
            table.append(row | {label: labels.get(label, "") for label in CHEXPERT_LABELS})
            save_image(root / path)
        pd.DataFrame(table).to_csv(root / name, index=False)
    return root


def write_plus(root: Path, headers: tuple[str, ...], orders: tuple[object, ...]) -> Path:
    """CheXpert Plus: one patient with a study per header."""
    rows, labels = [], []
    for number, (header, order) in enumerate(zip(headers, orders), start=1):
        path = f"train/patient00001/study{number}/view1_frontal.jpg"
        report = f"NARRATIVE: CHEST 1 VIEW: {header}\nCOMPARISON: 1/1/1999\nIMPRESSION: Study {number}."
        row = {"path_to_image": path, "frontal_lateral": "Frontal", "ap_pa": "PA", "deid_patient_id": "patient00001"}
        row |= {"patient_report_date_order": order, "report": report, "section_narrative": f"CHEST: {header}"}
        row |= {"section_findings": "", "section_impression": f"Small left pleural effusion, study {number}."}
        rows.append(row | {"age": 60, "sex": "Female", "race": "White", "split": "train"})
        labels.append({"path_to_image": path, "Pleural Effusion": 1.0, "Edema": None})
        save_image(root / "PNG" / path.replace(".jpg", ".png"))
    pd.DataFrame(rows).to_csv(root / "df_chexpert_plus_240401.csv", index=False)
    folder = root / "chexbert_labels"
    folder.mkdir()
    (folder / "impression_fixed.json").write_text("\n".join(map(json.dumps, labels)))
    return root


def test_chexpert_has_labels_and_study_numbers(tmp_path):
    found = find_studies(
        write_plain(tmp_path / "chexpert"),
        tmp_path,
        kind="chexpert",
        views=("PA", "AP"),
        validation_share=0,
        eligibility="any",
    )
    studies = found.studies.set_index("study_id")
    assert studies["split"].to_dict() == {
        "patient00001_study1": "train",
        "patient00001_study2": "train",
        "patient00002_study1": "train",
        "patient00003_study1": "test",  # the official validation set
    }
    assert studies["view_position"].tolist() == ["PA", "AP", "PA", "PA"] and studies["sex"].tolist() == [*"FF", "", "M"]
    assert studies["Edema"].fillna(9).tolist() == [-1, 1, 9, 1] and studies["age_at_study"].isna().sum() == 1
    assert set(studies["order_from"]) == {"study number"} and set(studies["report_path"]) == {""}
    assert found.counts["images_dropped"] == {"view not PA or AP": 1}
    assert found.counts["images_flagged"] == {"age unknown or impossible": 1}
    assert build_journeys(found.studies)[0]["days_between"].isna().all()


def test_headers_date_reports_and_the_report_order_only_places_the_others(tmp_path):
    headers = ("3/5/2010", "no date", "2/3/2010", "11-30-2010")
    root = write_plus(tmp_path / "plus", headers, orders=(1, 2, 3, 0))  # the order contradicts the headers
    found = find_studies(root, tmp_path, kind="chexpert", validation_share=0)
    studies = found.studies
    assert studies["study_id"].str[-1].tolist() == ["3", "1", "2", "4"]
    assert studies["order_from"].tolist() == ["date", "date", "report order", "date"]
    journeys, _ = build_journeys(studies)
    assert journeys["order_from"].tolist() == ["date", "report order", "report order"]
    assert journeys["days_between"].fillna(-1).tolist() == [30, -1, -1]
    assert found.counts["order_from"] == {"date": 3, "report order": 1}
    assert "IMPRESSION: Small left pleural effusion, study 3." in Path(studies["report_path"][0]).read_text()
    assert studies["race"].tolist() == ["WHITE"] * 4 and (studies["Pleural Effusion"] == 1).all()
    assert studies["Edema"].isna().all() and studies["image_path"].str.endswith(".png").all()


def test_without_a_single_date_the_report_order_holds(tmp_path):
    root = write_plus(tmp_path, ("none",) * 3, orders=(2, 0, 1))
    images = read_chexpert(root, texts=tmp_path / "reports").images.sort_values("study_datetime")
    assert images["study_id"].str[-1].tolist() == ["2", "3", "1"] and set(images["order_from"]) == {"report order"}


def test_labels_may_be_read_from_the_reports(tmp_path):
    root = write_plus(tmp_path / "plus", ("3/5/2010",), orders=(0,))
    next(root.rglob("*.json")).unlink()
    with pytest.raises(TableError, match="impression_fixed"):
        find_studies(root, tmp_path, kind="chexpert")
    studies = find_studies(root, tmp_path, kind="chexpert", labels="report", processes=1).studies
    assert studies["Pleural Effusion"].tolist() == [1]


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("RADIOGRAPHIC EXAMINATION OF THE CHEST: 7/21/2012\nCLINICAL HISTORY: x", "2012-07-21"),
        ("XR CHEST 2 VIEWS, 2009-03-04", "2009-03-04"),
        ("CHEST, March 4, 2009. FINDINGS: clear", "2009-03-04"),
        ("CHEST. COMPARISON: 3/4/2009", None),
        ("CHEST: 99/99/2009", None),
        ("", None),
    ],
)
def test_the_date_is_the_headers_and_not_the_comparisons(text, date):
    found = read_header_date(text)
    assert (found is None) if date is None else (found == pd.Timestamp(date))


def test_what_is_wrong_is_counted_or_refused(tmp_path):
    root = write_plain(tmp_path / "chexpert")
    table = pd.read_csv(root / "valid.csv")
    table.loc[1] = table.loc[0].to_numpy()
    table.loc[1, "Path"] = "valid/patient00002/study9/view1_frontal.jpg"
    table.loc[2] = table.loc[0].to_numpy()
    table.loc[2, "Path"] = "elsewhere.jpg"
    table.to_csv(root / "valid.csv", index=False)
    counts = find_studies(root, tmp_path, kind="chexpert").counts
    assert counts["images_dropped"] == {"path malformed": 1, "patient in two splits": 2, "view not PA": 2}
    with pytest.raises(ConfigError):
        find_studies(root, tmp_path / "no", kind="chexpert", labels="negbio")
    with pytest.raises(TableError, match="no reports"):
        find_studies(root, tmp_path / "no", kind="chexpert", labels="report")
    (root / "train.csv").write_text("Path,Sex\n1,2\n")
    with pytest.raises(TableError, match="Age"):
        find_studies(root, tmp_path / "no", kind="chexpert")
    with pytest.raises(TableError, match="neither"):
        find_studies(tmp_path, tmp_path / "no", kind="chexpert")
    assert not (tmp_path / "no").exists()
