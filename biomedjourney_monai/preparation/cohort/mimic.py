"""MIMIC-CXR-JPG with MIMIC-IV, and the rendered cohort in the same layout, as a source of studies."""

from pathlib import Path

import pandas as pd

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.preparation.cohort import mimic_tables as tables
from biomedjourney_monai.preparation.cohort.source import Source
from biomedjourney_monai.preparation.rejections import Rejections

LABELS = {"chexpert": tables.CHEXPERT, "negbio": tables.NEGBIO}
SUFFIXES = (".jpg", ".dcm")
"""Of the images of MIMIC-CXR-JPG, and of MIMIC-CXR."""


def read_mimic(
    root: str | Path, *, reports: str | Path | None = None, labels: str = "chexpert", official_split: bool = False
) -> Source:
    """Read the tables of a source; a TableError names a missing or malformed one.

    Args:
        root: the folder of MIMIC-CXR-JPG, with MIMIC-IV's tables in it or below it.
        reports: the folder that holds the reports' `files`; by default found below the root.
        labels: "chexpert", "negbio" or "report" (read from the reports later).
        official_split: also read MIMIC-CXR-JPG's split.
    """
    root, rejections = Path(root), Rejections()
    metadata = tables.read_metadata(root)
    images = rejections.keep_images(
        metadata, _well_formed(metadata), "identifier malformed", last="identifier malformed"
    )
    demographics, race_conflicts = tables.read_demographics(root)
    reports_root = find_reports_root(root, reports)
    return Source(
        images=images.assign(image_path=_image_paths(images, find_images_root(root))),
        demographics=demographics,
        race_conflicts=race_conflicts,
        find_reports=lambda studies: _report_paths(studies, reports_root),
        rejections=rejections,
        labels=tables.read_labels(root, LABELS[labels]) if labels in LABELS else None,
        split=tables.read_split(root).set_index("dicom_id")["split"] if official_split else None,
    )


def find_images_root(root: Path) -> Path:
    """The folder that holds the images' `files`: next to the metadata table, or else below the root."""
    metadata = tables.find_table(root, tables.METADATA)
    if metadata is not None and (metadata.parent / "files").is_dir():
        return metadata.parent
    return _folder_with_files(root) or root


def find_reports_root(root: Path, reports: str | Path | None) -> Path:
    """The folder that holds the reports' `files`: as given, or named *report* below the root, or the images' folder."""
    if reports is not None:
        folder = Path(reports)
        if not folder.is_dir():
            raise TableError("the reports must be in a folder", found="no such folder", action="Check --reports")
        return _folder_with_files(folder) or folder
    for folder in sorted(root.glob("*report*")):
        found = _folder_with_files(folder)
        if found is not None:
            return found
    return find_images_root(root)


def _folder_with_files(root: Path) -> Path | None:
    found = [folder for depth in tables.DEPTH[:3] for folder in sorted(root.glob(f"{depth}files"))]
    return found[0].parent if found else None


def _well_formed(metadata: pd.DataFrame) -> pd.Series:
    # These become parts of paths, so only the characters of MIMIC's identifiers may pass.
    valid = metadata["dicom_id"].str.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
    for column in ("subject_id", "study_id"):
        valid &= metadata[column].fillna("").str.fullmatch(r"\d{8}")
    return valid.astype(bool)


def _image_paths(images: pd.DataFrame, root: Path) -> pd.Series:
    stems = _study_folders(images, root) + "/" + images["dicom_id"]
    if stems.empty:
        return stems
    first = stems.iloc[:1000]  # a cohort has one format: that of the first images that exist
    suffix = next((s for s in SUFFIXES for stem in first if Path(stem + s).is_file()), SUFFIXES[0])
    return stems + suffix


def _report_paths(studies: pd.DataFrame, root: Path) -> pd.Series:
    paths = _study_folders(studies, root) + ".txt"
    return paths.where(paths.map(lambda path: Path(path).is_file()), "")


def _study_folders(table: pd.DataFrame, root: Path) -> pd.Series:
    subject, study = table["subject_id"], table["study_id"]
    return f"{root.resolve()}/files/p" + subject.str[:2] + "/p" + subject + "/s" + study
