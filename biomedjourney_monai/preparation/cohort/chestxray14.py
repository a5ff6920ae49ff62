"""ChestX-ray14 of the NIH Clinical Center, as published, as a source of studies: each film is a study.

It has no dates: the follow-up number orders the films of a patient, and `study_datetime` only carries that order. It
has no reports and no race. Labels were mined from reports that are not published; what a report did not name is absent.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.preparation.cohort.source import Source, draw_validation, most_frequent, read_csv
from biomedjourney_monai.preparation.rejections import Rejections
from biomedjourney_monai.schema import CHEXPERT_LABELS

TABLE = "Data_Entry_2017*.csv"
"""Of both releases: Data_Entry_2017.csv writes ages as 058Y, Data_Entry_2017_v2020.csv as 58."""

COLUMNS = {
    "Image Index": "file",
    "Finding Labels": "findings",
    "Follow-up #": "follow_up",
    "Patient ID": "patient",
    "Patient Age": "age",
    "Patient Gender": "sex",
    "View Position": "ViewPosition",
}
LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}
ORDER = "follow-up number"

LABELS = {
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Consolidation": "Consolidation",
    "Edema": "Edema",
    "Effusion": "Pleural Effusion",
    "Emphysema": "",
    "Fibrosis": "",
    "Hernia": "",
    "Infiltration": "Lung Opacity",
    "Mass": "Lung Lesion",
    "No Finding": "No Finding",
    "Nodule": "Lung Lesion",
    "Pleural_Thickening": "Pleural Other",
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
}
"""NIH's name → CheXpert's label, "" where it has none."""

MAX_AGE = 120.0
"""Years; a few rows say 155 or 400."""

_PER_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}
_START = pd.Timestamp("2000-01-01")
_RGBA = 6  # the colour type in a PNG's header


def read_chestxray14(
    root: str | Path, *, validation_share: float = 0.1, seed: int = 0, require_files: bool = True
) -> Source:
    """Read the table, list the files and take the official split.

    Args:
        root: the folder of the table and the two lists, with the films in images_001/images … images_012/images, or
            some of these, or in images.
        validation_share: of the patients in train_val_list.txt, in [0, 1).
        seed: draws the validation patients.
        require_files: also say which films are RGBA, from their headers.

    Raises:
        TableError: if the folder is not ChestX-ray14, or holds no film that its table names.
    """
    root, rejections = Path(root), Rejections()
    rows = _well_formed(_read_table(root), rejections)
    rows, split = _split(rows, root, rejections, lambda ids: draw_validation(ids, share=validation_share, seed=seed))
    paths = _list_films(root, rejections)
    without_row = sorted(paths.keys() - set(rows["file"]) - set(rejections.table()["dicom_id"] + ".png"))
    rejections.add("image", "no row in the table", pd.DataFrame({"image_path": [paths[name] for name in without_row]}))
    if require_files and paths.keys().isdisjoint(rows["file"]):
        raise TableError(
            "ChestX-ray14 must hold the films that its table names",
            found=f"{len(rows):,} rows and {len(paths):,} .png files, none of them named by a row",
            action="Put them in images_001/images … images_012/images, or in images",
        )
    absent = str(root.resolve() / "images")
    rows["image_path"] = [paths.get(name) or f"{absent}/{name}" for name in rows["file"]]
    rows["age"] = read_ages(rows["age"])
    flags = [_flag(rows[rows["age"].isna()], "age unknown or impossible")]
    if require_files:
        flags.append(_flag(rows[[name in paths and _is_rgba(paths[name]) for name in rows["file"]]], "RGBA"))
    first = rows.dropna(subset="age").sort_values(["subject_id", "follow_up"]).drop_duplicates("subject_id")
    sexes, _ = most_frequent(rows[rows["sex"].isin(["F", "M"])], "sex")
    people = pd.DataFrame({"subject_id": rows["subject_id"].unique()})
    return Source(
        images=rows.assign(
            ViewCodeSequence_CodeMeaning="", Rows=np.nan, Columns=np.nan, order_from=ORDER,
            study_datetime=_START + pd.to_timedelta(rows["follow_up"], unit="D"),
        ).drop(columns=["file", "findings", "follow_up", "patient", "age", "sex"]),
        demographics=people.assign(
            sex=people["subject_id"].map(sexes),
            anchor_age=people["subject_id"].map(first.set_index("subject_id")["age"]),
            anchor_year=np.nan,
            race="",
        ),
        race_conflicts=pd.DataFrame(columns=["subject_id", "race", "count", "chosen"]),
        find_reports=lambda studies: pd.Series("", index=studies.index),
        rejections=rejections,
        labels=read_labels(rows["findings"]).assign(study_id=rows["study_id"]),
        ages=rows.set_index("study_id")["age"],
        split=split,
        flags=pd.concat(flags),
    )  # fmt: skip


def read_ages(cells: pd.Series) -> pd.Series:
    """Read ages as years: "58", "058Y", "011M"; NaN where there is none or it is above `MAX_AGE`.

    Example:
        >>> read_ages(pd.Series(["58", "058Y", "006M", "400", ""])).tolist()
        [58.0, 58.0, 0.5, nan, nan]
    """
    parts = cells.fillna("").str.strip().str.upper().str.extract(r"^(\d+)(?:\.0)?([YMWD]?)$")
    years = pd.to_numeric(parts[0]) / parts[1].map(_PER_YEAR)
    return years.where(years <= MAX_AGE).astype("float64")


def read_labels(findings: pd.Series) -> pd.DataFrame:
    """Translate cells such as "Effusion|Mass" to the 14 CheXpert labels, float32: 1 named, 0 not named, and NaN for
    the labels of which NIH has no name."""
    named = findings.str.get_dummies("|").reindex(columns=list(LABELS), fill_value=0)
    table = pd.DataFrame(np.nan, index=findings.index, columns=list(CHEXPERT_LABELS), dtype="float32")
    for label in sorted(set(LABELS.values()) - {""}):
        sources = [name for name, target in LABELS.items() if target == label]
        table[label] = named[sources].max(axis=1).astype("float32")
    return table


def _read_table(root: Path) -> pd.DataFrame:
    if not root.is_dir():
        raise TableError("ChestX-ray14 must be a folder", found="no such folder", action="Check --chestxray14")
    tables = sorted(root.glob(TABLE))
    if not tables:
        raise TableError(
            "the folder of ChestX-ray14 must hold Data_Entry_2017_v2020.csv or Data_Entry_2017.csv", found="neither"
        )
    path = tables[-1]  # the later release
    table = read_csv(path, dtype=str, usecols=lambda name: name.strip() in COLUMNS, index_col=False)
    table = table.rename(columns=lambda name: COLUMNS[name.strip()])
    missing = [name for name, ours in COLUMNS.items() if ours not in table]
    if missing:
        raise TableError(f"{path.name} must have a column {missing[0]!r}", found="none of that name")
    if table.empty:
        raise TableError(f"{path.name} must not be empty", found="no rows")
    return table


def _well_formed(table: pd.DataFrame, rejections: Rejections) -> pd.DataFrame:
    table = table.apply(lambda column: column.fillna("").str.strip())
    patients = pd.to_numeric(table["patient"], errors="coerce")
    follow_ups = pd.to_numeric(table["follow_up"], errors="coerce")
    table = table.assign(
        subject_id=table["patient"].str.removesuffix(".0").str.zfill(8),
        study_id=table["file"].str.removesuffix(".png"),
        dicom_id=table["file"].str.removesuffix(".png"),
        follow_up=follow_ups,
    )
    valid = table["file"].str.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*\.png")
    valid &= patients.between(0, 99_999_999) & follow_ups.between(0, 9_999)
    table = rejections.keep_images(table, valid, "row malformed")
    table = rejections.keep_images(table, ~table["file"].duplicated(), "the same image again")
    known = table["findings"].map(lambda cell: all(name in LABELS for name in cell.split("|"))).astype(bool)
    table = rejections.keep_images(table, known, "label unknown")
    if table.empty:
        raise TableError("the table of ChestX-ray14 must have usable rows", found="none")
    return table


def _split(
    rows: pd.DataFrame, root: Path, rejections: Rejections, is_validation: Callable[[pd.Series], pd.Series]
) -> tuple[pd.DataFrame, pd.Series]:
    """Leave out patients of both lists; image → split."""
    listed: dict[str, set[str]] = {}
    for name in LISTS:
        try:
            listed[name] = set((root / name).read_text(encoding="utf-8").split())
        except (OSError, UnicodeDecodeError) as error:
            found = type(error).__name__
            raise TableError(f"the folder of ChestX-ray14 must hold {name}", found=found) from error
    inside = {name: rows["file"].isin(files) for name, files in listed.items()}
    both = set.intersection(*(set(rows.loc[where, "subject_id"]) for where in inside.values()))
    rows = rejections.keep_images(
        rows, ~rows["subject_id"].isin(both), "patient in two splits", last="patient in two splits"
    )
    split = pd.Series(None, index=rows["dicom_id"], dtype=object)
    for name, part in LISTS.items():
        split[inside[name][rows.index].to_numpy()] = part
    split[((split == "train").to_numpy() & is_validation(rows["subject_id"]).to_numpy())] = "validate"
    return rows, split


def _list_films(root: Path, rejections: Rejections) -> dict[str, str]:
    """File name → path, of the .png files in images, images_NNN and images_NNN/images; the first of equal names."""
    paths: dict[str, str] = {}
    again = []
    for folder in sorted(folder for folder in root.resolve().iterdir() if re.fullmatch(r"images(_\d+)?", folder.name)):
        for place in (folder, folder / "images"):
            if place.is_dir():
                with os.scandir(place) as entries:
                    for entry in entries:
                        if entry.name.endswith(".png") and paths.setdefault(entry.name, entry.path) != entry.path:
                            again.append(entry.path)
    rejections.add("image", "the same image again", pd.DataFrame({"image_path": sorted(again)}))
    return paths


def _flag(rows: pd.DataFrame, flag: str) -> pd.DataFrame:
    return rows[["dicom_id"]].assign(flag=flag)


def _is_rgba(path: str) -> bool:
    try:
        with Path(path).open("rb", buffering=0) as stream:
            head = stream.read(26)
    except OSError:
        return False  # `register` counts what cannot be read
    return len(head) == 26 and head[25] == _RGBA
