"""CheXpert and CheXpert Plus of Stanford as a source of studies.

CheXpert has labels, and study numbers alone to order a patient's studies. CheXpert Plus has reports too, whose header
may name a date. Its patient_report_date_order disagrees with the headers in about half of the pairs that others
checked, so it only orders what no header dates.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.preparation.cohort.mimic import known_races
from biomedjourney_monai.preparation.cohort.report_files import ReportFinder
from biomedjourney_monai.preparation.cohort.source import Source, draw_validation, most_frequent, read_csv
from biomedjourney_monai.preparation.rejections import Rejections
from biomedjourney_monai.schema import CHEXPERT_LABELS, DATED

PLUS = "df_chexpert_plus_*.csv"
PLAIN = {"train.csv": "train", "valid.csv": "valid", "test.csv": "test"}
SPLITS = {"train": "train", "valid": "test", "test": "test"}
"""Official split → ours: the official validation set tests, and validation patients are drawn from train."""

PLAIN_COLUMNS = {"Path": "path", "Sex": "sex", "Age": "age", "Frontal/Lateral": "side", "AP/PA": "view"}
PLUS_COLUMNS = {
    **{"path_to_image": "path", "sex": "sex", "age": "age", "frontal_lateral": "side", "ap_pa": "view"},
    "patient_report_date_order": "order",
}

PLUS_TEXTS = ("report", "section_narrative", "section_findings", "section_impression")
LABEL_FILES = ("impression_fixed.json", "report_fixed.json", "findings_fixed.json")
"""Of CheXpert Plus, one JSON object per line; the first that exists is read."""

STUDY_NUMBER, REPORT_ORDER = "study number", "report order"
MAX_AGE = 120

_NOT_OF_AN_IMAGE = ["stem", "split", "study_number", "sex", "age", "race", "order", "row", *PLUS_TEXTS]
_START = pd.Timestamp("2000-01-01")
_PATH = r"(?:^|/)((train|valid|test)/(patient\d+)/(study(\d+))/(view\d+_\w+))\.(?:jpg|png)$"
_BODY = re.compile(r"(?i)\b(?:clinical history|history|comparison|technique|procedure|findings|impression)\b")
_DATE = re.compile(r"\b(?:\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[-/]\d{1,2}[-/](?:\d{4}|\d{2})|[A-Za-z]{3,9} \d{1,2}, \d{4})\b")


def read_chexpert(
    root: str | Path,
    *,
    labels: str | None = None,
    texts: Path = Path("work/reports"),
    validation_share: float = 0.1,
    seed: int = 0,
) -> Source:
    """Read the tables of CheXpert, or of CheXpert Plus if its table is there.

    Args:
        root: the folder of train.csv and valid.csv, or of df_chexpert_plus_240401.csv with the images below it.
        labels: None for the data set's own; "report" to read them from the reports of CheXpert Plus.
        texts: folder for the reports of CheXpert Plus, one file per study.
        validation_share: of the patients of the official training set, in [0, 1).
        seed: draws the validation patients.

    Raises:
        TableError: if a table is missing or malformed, or the reports or labels that are asked for are.
    """
    root, rejections = Path(root), Rejections()
    table, is_plus = _read_tables(root)
    images = _well_formed(table, rejections)
    both = images.groupby("subject_id")["split"].nunique()
    in_one = ~images["subject_id"].isin(both[both > 1].index)
    images = rejections.keep_images(images, in_one, "patient in two splits", last="patient in two splits")
    if labels == "report" and not is_plus:
        raise TableError("CheXpert has no reports", found="--labels report", action="Use CheXpert Plus, or its labels")
    studies = images.drop_duplicates("study_id")
    images = images.merge(_order(studies, is_plus=is_plus), on="study_id")
    finder = ReportFinder(texts, by_key={"accession_number": _texts(studies)} if is_plus else {})
    split = images["split"].map(SPLITS)
    drawn = draw_validation(images["subject_id"], share=validation_share, seed=seed)
    sexes, _ = most_frequent(images[images["sex"] != ""], "sex")
    races, conflicts = most_frequent(known_races(images[["subject_id", "race"]]), "race")
    ages = studies.set_index("study_id")["age"]
    first = images.dropna(subset="age").sort_values(["subject_id", "study_datetime"]).drop_duplicates("subject_id")
    people = pd.DataFrame({"subject_id": images["subject_id"].unique()})
    return Source(
        images=images.assign(image_path=_image_paths(images["stem"], root)).drop(columns=_NOT_OF_AN_IMAGE),
        demographics=people.assign(
            sex=people["subject_id"].map(sexes),
            race=people["subject_id"].map(races),
            anchor_age=people["subject_id"].map(first.set_index("subject_id")["age"]),
            anchor_year=np.nan,
        ),
        race_conflicts=conflicts,
        find_reports=finder.find if is_plus else lambda kept: pd.Series("", index=kept.index),
        rejections=rejections,
        labels=None if labels == "report" else _read_labels(table, images, root, is_plus=is_plus),
        ages=ages,
        split=split.mask((split == "train") & drawn, "validate").set_axis(images["dicom_id"]),
        flags=images.loc[images["age"].isna(), ["dicom_id"]].assign(flag="age unknown or impossible"),
    )


def read_header_date(text: str) -> pd.Timestamp | None:
    """The first date of a report's header, before its history, comparison or findings; None if there is none.

    Example:
        >>> read_header_date("NARRATIVE: CHEST 1 VIEW: 8-12-2005  COMPARISON: 8-11-2005")
        Timestamp('2005-08-12 00:00:00')
    """
    body = _BODY.search(text)
    found = _DATE.search(text[: body.start()] if body else text[:300])
    if not found:
        return None
    date = pd.to_datetime(found[0].replace("-", "/"), errors="coerce")
    return None if pd.isna(date) else date


def _read_tables(root: Path) -> tuple[pd.DataFrame, bool]:
    if not root.is_dir():
        raise TableError("CheXpert must be a folder", found="no such folder", action="Check --chexpert")
    plus = sorted(root.glob(PLUS))
    paths = plus[-1:] or [root / name for name in PLAIN if (root / name).is_file()]
    if not paths:
        raise TableError("the folder of CheXpert must hold train.csv or df_chexpert_plus_240401.csv", found="neither")
    tables = []
    for path in paths:
        table = read_csv(path, dtype=str, keep_default_na=False)
        columns = PLUS_COLUMNS if plus else PLAIN_COLUMNS
        needed = [*columns, *(() if plus else CHEXPERT_LABELS)]
        missing = [name for name in needed if name not in table]
        if missing:
            raise TableError(f"{path.name} must have a column {missing[0]!r}", found=", ".join(table.columns[:8]))
        table = table.rename(columns=columns)
        tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    if table.empty:
        raise TableError("the table of CheXpert must not be empty", found="no rows")
    return table, bool(plus)


def _well_formed(table: pd.DataFrame, rejections: Rejections) -> pd.DataFrame:
    parts = table["path"].str.strip().str.extract(_PATH)
    ages = pd.to_numeric(table["age"], errors="coerce")
    empty = pd.Series("", index=table.index)
    images = pd.DataFrame(
        {
            "stem": parts[0],
            "split": parts[1],
            "subject_id": parts[2],
            "study_id": parts[2] + "_" + parts[3],
            "study_number": pd.to_numeric(parts[4]),
            "dicom_id": parts[2] + "_" + parts[3] + "_" + parts[5],
            "ViewPosition": table["view"].str.strip().where(table["side"].str.strip() == "Frontal", "LATERAL"),
            "ViewCodeSequence_CodeMeaning": "",
            "Rows": np.nan,
            "Columns": np.nan,
            "sex": table["sex"].str.strip().str[:1].where(table["sex"].str.strip().isin(["Male", "Female"]), ""),
            "age": ages.where(ages.between(1, MAX_AGE)),
            "race": table.get("race", empty),
            "order": pd.to_numeric(table.get("order", empty), errors="coerce"),
            "row": table.index,
            "accession_number": parts[2] + "_" + parts[3],
            "study_instance_uid": "",
            **{name: table.get(name, empty) for name in PLUS_TEXTS},
        }
    )
    images = rejections.keep_images(images, images["stem"].notna(), "path malformed")
    images = rejections.keep_images(images, ~images["dicom_id"].duplicated(), "the same image again")
    if images.empty:
        raise TableError("the table of CheXpert must name images", found="no path such as train/patient00001/study1/…")
    return images


def _order(studies: pd.DataFrame, *, is_plus: bool) -> pd.DataFrame:
    """study_id → study_datetime and order_from."""
    if not is_plus:
        days = pd.to_timedelta(studies["study_number"], unit="D")
        return studies[["study_id"]].assign(study_datetime=_START + days, order_from=STUDY_NUMBER)
    headers = studies["report"].where(studies["report"] != "", studies["section_narrative"])
    dates = pd.to_datetime(headers.map(read_header_date))
    ordered = studies.assign(date=dates).sort_values(["subject_id", "order", "study_number"])
    # What no header dates lies a moment after the dated study that precedes it in the order, or before the first one.
    patient = ordered["subject_id"]
    after, before = ordered["date"].groupby(patient).ffill(), ordered["date"].groupby(patient).bfill()
    anchor = after.fillna(before - pd.Timedelta(days=1)).fillna(_START)
    moment = pd.to_timedelta(ordered.groupby("subject_id").cumcount() + 1, unit="s")
    times = ordered["date"].fillna(anchor + moment)
    has_order = ordered["date"].notna() | ordered["order"].notna()
    source = np.select([ordered["date"].notna(), has_order], [DATED, REPORT_ORDER], STUDY_NUMBER)
    return ordered[["study_id"]].assign(study_datetime=times.astype("datetime64[ns]"), order_from=source)


def _texts(studies: pd.DataFrame) -> dict[str, str]:
    """study_id → its findings and impression as a report, or the whole report where it has no sections."""
    columns = ("study_id", "section_findings", "section_impression", "report")
    texts = {}
    for study, findings, impression, report in zip(*(studies[column] for column in columns)):
        parts = [
            f"{name}: {text.strip()}" for name, text in (("FINDINGS", findings), ("IMPRESSION", impression)) if text
        ]
        texts[study] = "\n\n".join(parts) or report
    return texts


def _read_labels(table: pd.DataFrame, images: pd.DataFrame, root: Path, *, is_plus: bool) -> pd.DataFrame:
    """One row per study: study_id and the 14 labels."""
    if is_plus:
        rows = _label_rows(root)
        key: Callable[[str], str] = lambda path: (re.search(_PATH, path) or [""] * 2)[1]  # noqa: E731
        named = {key(str(row.get("path_to_image", ""))): row for row in rows}
        values = pd.DataFrame([named.get(stem, {}) for stem in images["stem"]]).reindex(columns=list(CHEXPERT_LABELS))
    else:
        values = table.loc[images["row"], list(CHEXPERT_LABELS)].replace("", np.nan)
    numbers = values.apply(pd.to_numeric, errors="coerce").astype("float32").set_axis(images.index)
    wrong = (numbers.notna() & ~numbers.isin([1, 0, -1])).any()
    if wrong.any():
        raise TableError(f"label {wrong.idxmax()!r} of CheXpert must be 1, 0, -1 or nothing", found="another number")
    return numbers.assign(study_id=images["study_id"]).drop_duplicates("study_id")


def _label_rows(root: Path) -> list[dict[str, object]]:
    paths = [path for name in LABEL_FILES for depth in ("", "*/", "*/*/") for path in sorted(root.glob(depth + name))]
    if not paths:
        action = "Unpack its labels there, or pass --labels report"
        raise TableError(f"CheXpert Plus must hold {LABEL_FILES[0]}", found="none", action=action)
    try:
        with paths[0].open(encoding="utf-8") as stream:
            return [dict(json.loads(line)) for line in stream if line.strip()]
    except (ValueError, TypeError, OSError) as error:
        raise TableError(f"{paths[0].name} must hold a JSON object per line", found=type(error).__name__) from error


def _image_paths(stems: pd.Series, root: Path) -> pd.Series:
    """The folder and suffix of the first images that exist hold for all."""
    root = root.resolve()
    places = [
        (folder, suffix)
        for folder in (root, *sorted(p for p in root.iterdir() if p.is_dir()))
        for suffix in (".jpg", ".png")
    ]
    for folder, suffix in places:
        if any((folder / f"{stem}{suffix}").is_file() for stem in stems[:200]):
            return f"{folder}/" + stems + suffix
    return f"{root}/" + stems + ".jpg"
