"""Who and what: MIMIC-CXR-JPG with MIMIC-IV → one row per eligible study.

The rules, in order. Images: identifiers well-formed; view PA, by ViewPosition, or by ViewCodeSequence where that is
empty; the file exists. Of a study's PA images the one with the most pixels is taken, then the first by dicom_id.
Studies: date and time usable; a split; labels that make the study eligible. What falls out is counted by reason.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.preparation import tables
from biomedjourney_monai.preparation.splits import paper_split
from biomedjourney_monai.preparation.times import parse_study_datetime
from biomedjourney_monai.schema import CHEXPERT_LABELS, STUDY_COLUMNS

ELIGIBILITY = ("labelled", "finding", "any")
NOT_FINDINGS = ("No Finding", "Support Devices")


@dataclass(frozen=True)
class Cohort:
    """The eligible studies, and what fell out.

    Args:
        studies: columns `schema.STUDY_COLUMNS`, in order of subject and time.
        image_drops: reason → number of images.
        study_drops: reason → number of studies.
        race_conflicts: number of patients with more than one race recorded.
    """

    studies: pd.DataFrame
    image_drops: dict[str, int]
    study_drops: dict[str, int]
    race_conflicts: int


def build_cohort(
    source: str | Path,
    *,
    reports: str | Path | None = None,
    split: str = "paper",
    eligibility: str = "labelled",
    validation_share: float = 0.1,
    seed: int = 0,
) -> Cohort:
    """Build the table of eligible studies.

    Args:
        source: the folder of MIMIC-CXR-JPG, with MIMIC-IV's tables in it or below it.
        reports: the folder that holds the reports' `files`; found below `source` if not given.
        split: "paper" (p10–p18 and p19) or "official" (MIMIC-CXR-JPG's split table).
        eligibility: "labelled" keeps studies with at least one positive CheXpert label, No Finding included, so that
            recovery to a normal radiograph stays a journey; "finding" asks for a positive finding, as a strict reading
            of the paper does; "any" keeps all.
        validation_share: of the patients in p10–p18, for the paper's split.
        seed: draws the validation patients.

    Returns:
        The cohort. Labels keep their raw values: 1 present, 0 absent, -1 uncertain, NaN not mentioned.

    Raises:
        TableError: if a table is absent or malformed, or nothing is eligible.
    """
    source = Path(source)
    image_drops: Counter[str] = Counter()
    study_drops: Counter[str] = Counter()
    metadata = tables.read_metadata(source)
    study_count = metadata["study_id"].nunique()

    images = _keep(metadata, _well_formed(metadata), "identifier malformed", image_drops)
    images = _keep(images, is_pa(images), "view not PA", image_drops)
    study_drops["no PA image"] = study_count - images["study_id"].nunique()
    images = images.assign(image_path=_image_paths(images, find_images_root(source)))
    on_disk = images["image_path"].map(lambda path: Path(path).is_file()).astype(bool)
    missing = images["study_id"].nunique()
    images = _keep(images, on_disk, "image file missing", image_drops)
    study_drops["image file missing"] = missing - images["study_id"].nunique()
    studies = choose_images(images)
    image_drops["another image of the study chosen"] = len(images) - len(studies)

    studies = studies.assign(study_datetime=parse_study_datetime(studies["StudyDate"], studies["StudyTime"]))
    studies = _keep(studies, studies["study_datetime"].notna(), "study date or time unusable", study_drops)
    studies = studies.merge(tables.read_chexpert(source), on="study_id", how="left")
    studies = _keep(studies, is_eligible(studies, eligibility), "labels not eligible", study_drops)
    studies = studies.assign(split=_splits(studies, source, split, validation_share, seed))
    studies = _keep(studies, studies["split"].notna(), "no split", study_drops)
    if studies.empty:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in (image_drops + study_drops).items())
        raise TableError("a cohort must have eligible studies", found=f"none ({reasons})", action="Check the source")

    demographics, race_conflicts = tables.read_demographics(source)
    studies = _add_demographics(studies, demographics)
    studies = studies.assign(report_path=_report_paths(studies, find_reports_root(source, reports)))
    studies = studies.sort_values(["subject_id", "study_datetime", "study_id"], ignore_index=True)
    return Cohort(studies[list(STUDY_COLUMNS)], _positive(image_drops), _positive(study_drops), race_conflicts)


def is_pa(images: pd.DataFrame) -> pd.Series:
    """Whether each image is PA: by ViewPosition, or by the view code's meaning where ViewPosition is empty."""
    position = images["ViewPosition"].fillna("").str.strip().str.upper()
    code = images["ViewCodeSequence_CodeMeaning"].fillna("").str.lower().str.replace(r"[^a-z]", "", regex=True)
    return (position == "PA") | ((position == "") & (code == "posteroanterior"))


def choose_images(images: pd.DataFrame) -> pd.DataFrame:
    """One image per study: the most pixels, then the first by dicom_id."""
    ordered = images.assign(pixels=images["Rows"].fillna(0) * images["Columns"].fillna(0))
    ordered = ordered.sort_values(["study_id", "pixels", "dicom_id"], ascending=[True, False, True])
    return ordered.drop_duplicates("study_id").drop(columns="pixels")


def is_eligible(studies: pd.DataFrame, eligibility: str) -> pd.Series:
    """Whether each study's labels make it eligible; see `build_cohort`."""
    if eligibility not in ELIGIBILITY:
        raise ValueError(f"eligibility must be one of {ELIGIBILITY}; got {eligibility!r}")
    if eligibility == "any":
        return pd.Series(True, index=studies.index)
    counted = [label for label in CHEXPERT_LABELS if eligibility == "labelled" or label not in NOT_FINDINGS]
    return (studies[counted] == 1).any(axis=1)


def find_images_root(source: Path) -> Path:
    """The folder that holds the images' `files`: beside the metadata table, or else below the source."""
    beside = tables.find_table(source, tables.METADATA)
    if beside is not None and (beside.parent / "files").is_dir():
        return beside.parent
    return _folder_with_files(source) or source


def find_reports_root(source: Path, reports: str | Path | None) -> Path:
    """The folder that holds the reports' `files`: given, or named like reports below the source, or the images'."""
    if reports is not None:
        folder = Path(reports)
        if not folder.is_dir():
            raise TableError("the reports must be in a folder", found="no such folder", action="Check --reports")
        return _folder_with_files(folder) or folder
    for folder in sorted(source.glob("*report*")):
        found = _folder_with_files(folder)
        if found is not None:
            return found
    return find_images_root(source)


def _folder_with_files(root: Path) -> Path | None:
    found = [folder for depth in tables.DEPTH[:3] for folder in sorted(root.glob(f"{depth}files"))]
    return found[0].parent if found else None


def _well_formed(metadata: pd.DataFrame) -> pd.Series:
    # These become parts of paths: nothing but what MIMIC's identifiers are made of may pass.
    valid = metadata["dicom_id"].str.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
    for column in ("subject_id", "study_id"):
        valid &= metadata[column].fillna("").str.fullmatch(r"\d{8}")
    return valid.astype(bool)


def _image_paths(images: pd.DataFrame, root: Path) -> pd.Series:
    return _study_folders(images, root) + "/" + images["dicom_id"] + ".jpg"


def _report_paths(studies: pd.DataFrame, root: Path) -> pd.Series:
    paths = _study_folders(studies, root) + ".txt"
    return paths.where(paths.map(lambda path: Path(path).is_file()), "")


def _study_folders(table: pd.DataFrame, root: Path) -> pd.Series:
    subject, study = table["subject_id"], table["study_id"]
    return f"{root.resolve()}/files/p" + subject.str[:2] + "/p" + subject + "/s" + study


def _splits(studies: pd.DataFrame, source: Path, split: str, validation_share: float, seed: int) -> pd.Series:
    if split == "paper":
        return paper_split(studies["subject_id"], validation_share=validation_share, seed=seed)
    if split == "official":
        return studies["dicom_id"].map(tables.read_split(source).set_index("dicom_id")["split"])
    raise ValueError(f"split must be 'paper' or 'official'; got {split!r}")


def _add_demographics(studies: pd.DataFrame, demographics: pd.DataFrame) -> pd.DataFrame:
    studies = studies.merge(demographics, on="subject_id", how="left")
    for column in ("sex", "race"):
        studies[column] = studies[column].fillna("").astype(str)
    anchor_age = studies["anchor_age"].astype("float64")
    years = studies["study_datetime"].dt.year - studies["anchor_year"].astype("float64")
    return studies.assign(anchor_age=anchor_age, age_at_study=anchor_age + years, view_position="PA")


def _keep(table: pd.DataFrame, keep: pd.Series, reason: str, drops: Counter[str]) -> pd.DataFrame:
    drops[reason] += int((~keep).sum())
    return table[keep]


def _positive(drops: Counter[str]) -> dict[str, int]:
    return {reason: int(count) for reason, count in drops.items() if count}
