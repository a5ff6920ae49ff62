"""A whole registration: studies.parquet and journeys.parquet → images/, pairs.parquet and register_drops.json.

Images that cannot be used and pairs that are dropped are also added to rejected.csv.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.files import read_table, write_json, write_table
from biomedjourney_monai.preparation.cohort.study_table import read_studies
from biomedjourney_monai.preparation.rejections import write_rejected
from biomedjourney_monai.preparation.registration.register import MIN_SCORE
from biomedjourney_monai.preparation.registration.pairs import (
    Content,
    Done,
    Workers,
    convert_studies,
    decide,
    register_journeys,
)
from biomedjourney_monai.preparation.registration.recipe import LoadsStudies, RegistersPairs
from biomedjourney_monai.schema import (
    JOURNEY_COLUMNS,
    JOURNEYS_FILE,
    PAIRS_FILE,
)

COUNTS_FILE = "register_drops.json"
MIN_PAIRS_TO_CALIBRATE = 20
_OF_THE_NEW_IMAGE = ("study_id", "dicom_id", "image_path")


@dataclass(frozen=True)
class Finished:
    """What a run did.

    Args:
        pairs: columns `schema.PAIR_COLUMNS`.
        counts: as in register_drops.json.
        images: pictures done and found done.
        registrations: pairs done and found done.
    """

    pairs: pd.DataFrame
    counts: dict[str, Any]
    images: Done
    registrations: Done


def register_all(
    work: str | Path,
    loader: LoadsStudies,
    registrar: RegistersPairs,
    *,
    min_score: float = MIN_SCORE,
    calibrate: float | None = None,
    processes: int = 1,
    scheduler: str | None = None,
) -> Finished:
    """Do everything that is not done yet, and write the tables.

    Args:
        work: the working folder.
        loader: from file to square.
        registrar: from two squares to a registration.
        min_score: gradient correlation that a pair must reach.
        calibrate: take this percentile of the pairs' own scores instead of min_score.
        processes: on this machine.
        scheduler: address of a Dask scheduler to use instead.

    Raises:
        TableError: if a table is absent, or too few pairs are there to calibrate on.
    """
    work, workers = Path(work), Workers(processes, scheduler)
    studies = read_studies(work)
    journeys = read_table(work / JOURNEYS_FILE, columns=JOURNEY_COLUMNS, made_by="journeys")
    contents, images = convert_studies(studies, work, loader, workers=workers)
    measured, registrations = register_journeys(journeys, contents, work, registrar, workers=workers)
    if calibrate is not None:
        min_score = calibrated_score(measured, percentile=calibrate)
    pairs = decide(measured, min_score=min_score)
    counts = _count(pairs, contents, min_score, calibrate)
    write_table(work / PAIRS_FILE, pairs)
    write_json(work / COUNTS_FILE, counts)
    write_rejected(work, "register", list_rejected(studies, contents, pairs), after=("cohort",))
    return Finished(pairs, counts, images, registrations)


def list_rejected(studies: pd.DataFrame, contents: Mapping[str, Content], pairs: pd.DataFrame) -> pd.DataFrame:
    """Images that cannot be used and pairs that are dropped, with their reasons.

    Args:
        studies: columns `schema.STUDY_COLUMNS`.
        contents: what `convert_studies` returned.
        pairs: columns `schema.PAIR_COLUMNS`.

    Returns:
        Columns of `rejections.REJECTED_COLUMNS` but the stage.
    """
    details = {dicom_id: content.detail for dicom_id, content in contents.items() if content.box is None}
    images = studies[studies["dicom_id"].isin(details)]
    images = images.assign(level="image", reason=images["dicom_id"].map(details))
    dropped = pairs[~pairs["kept"]].rename(columns={f"new_{name}": name for name in _OF_THE_NEW_IMAGE})
    dropped = dropped.assign(level="pair", reason=dropped["drop_reason"])
    columns = ["level", "reason", "subject_id", *_OF_THE_NEW_IMAGE]
    return pd.concat([images[columns], dropped[columns]], ignore_index=True)


def require_pairs(finished: Finished) -> None:
    """End a run that kept nothing, once all that tells why is written.

    Raises:
        TableError: if no pair is kept.
    """
    if not finished.counts["kept"]:
        dropped = ", ".join(f"{reason} {count:,}" for reason, count in finished.counts["dropped"].items())
        raise TableError("some pairs must be kept", found=f"dropped: {dropped}", action="Check the images, --min-score")


def calibrated_score(measured: pd.DataFrame, *, percentile: float) -> float:
    """The percentile of the scores of pairs that pass every other limit.

    Args:
        measured: what `register_journeys` returned.
        percentile: in [0, 50].

    Raises:
        TableError: if fewer than 20 pairs pass.
    """
    sane = decide(measured, min_score=-1.0)
    scores = sane.loc[sane["kept"], "gradient_correlation"]
    if len(scores) < MIN_PAIRS_TO_CALIBRATE:
        raise TableError(
            f"--calibrate needs at least {MIN_PAIRS_TO_CALIBRATE} pairs within the limits of scale, rotation, overlap",
            found=f"{len(scores)}",
            action="Pass --min-score instead",
        )
    return float(scores.quantile(percentile / 100))


def _count(
    pairs: pd.DataFrame, contents: dict[str, Content], min_score: float, calibrate: float | None
) -> dict[str, Any]:
    kept = pairs["kept"]
    missing = {dicom_id for dicom_id, content in contents.items() if content.box is None}
    return {
        "journeys": len(pairs),
        "kept": int(kept.sum()),
        "kept_by_split": pairs.loc[kept, "split"].value_counts().sort_index().to_dict(),
        "dropped": pairs.loc[~kept, "drop_reason"].value_counts().sort_index().to_dict(),
        "images_unreadable": len(missing),
        "unreadable_between_two_readable": _count_middles(pairs, missing),
        "min_score": min_score,
        "calibrated_at_percentile": calibrate,
    }


def _count_middles(pairs: pd.DataFrame, missing: set[str]) -> int:
    """How many missing images stand between two readable ones of the same patient: journeys that could be joined."""
    before = set(pairs.loc[~pairs["prior_dicom_id"].isin(missing), "new_dicom_id"])
    after = set(pairs.loc[~pairs["new_dicom_id"].isin(missing), "prior_dicom_id"])
    return len(missing & before & after)
