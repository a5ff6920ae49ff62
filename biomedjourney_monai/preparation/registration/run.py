"""The registration stage: studies.parquet and journeys.parquet → images/, pairs.parquet and register_drops.json.

Images that cannot be used and pairs that are dropped are also added to rejected.csv.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from biomedjourney_monai.errors import ConfigError, SettingError, TableError
from biomedjourney_monai.files import read_table, write_json, write_table
from biomedjourney_monai.output_check import refuse_inputs, refuse_unwritable
from biomedjourney_monai.preparation.journeys import read_studies
from biomedjourney_monai.preparation.parallel import ALONE, Workers
from biomedjourney_monai.preparation.quality.page import write_quality_page
from biomedjourney_monai.preparation.registration.image_pair import ImagePair
from biomedjourney_monai.preparation.registration.pairs import (
    Content,
    LoadStudy,
    RegisterPair,
    StudyLoader,
    convert_studies,
    decide,
    register_journeys,
)
from biomedjourney_monai.preparation.registration.register import MIN_SCORE, PairRegistrar, Registration, rejection
from biomedjourney_monai.preparation.rejections import list_reasons, write_rejected
from biomedjourney_monai.radiographs import save_png
from biomedjourney_monai.schema import IMAGES_FOLDER, JOURNEY_COLUMNS, JOURNEYS_FILE, PAIRS_FILE

COUNTS_FILE = "register_drops.json"
MIN_PAIRS_TO_CALIBRATE = 20
MIN_SIZE, MAX_SIZE = 32, 2048
_OF_THE_NEW_IMAGE = ("study_id", "dicom_id", "image_path")


@dataclass(frozen=True)
class RegisteredPairs:
    """The result of a registration run.

    Args:
        pairs: columns `schema.PAIR_COLUMNS`, the dropped ones included.
        counts: as in register_drops.json.
        images_done: pictures written in this run.
        images_reused: pictures taken from an earlier run.
        pairs_done: pairs registered in this run.
        pairs_reused: pairs taken from an earlier run.
        report: the HTML page, if it was asked for.
    """

    pairs: pd.DataFrame
    counts: dict[str, Any]
    images_done: int
    images_reused: int
    pairs_done: int
    pairs_reused: int
    report: Path | None = None


def register_pairs(
    work: str | Path = "work",
    *,
    size: int = 128,
    transform: str = "similarity",
    toolkit: str = "simpleitk",
    accept_erased_disease: bool = False,
    min_score: float | None = None,
    calibrate: float | None = None,
    check_views: bool = False,
    check_mirrored: bool = False,
    report: bool = False,
    processes: int | None = None,
    scheduler: str | None = None,
) -> RegisteredPairs:
    """Turn every study of a working folder into a square image, and register every journey's new image to its prior.

    A stopped run resumes; a changed setting repeats only what depends on it.

    Args:
        work: the working folder with studies.parquet and journeys.parquet.
        size: side of the images in pixels, in [32, 2048].
        transform: "similarity", "rigid", "affine", "none" or "deformable".
        toolkit: "simpleitk" or "elastix".
        accept_erased_disease: must be True for "deformable"; see `registration.register`.
        min_score: gradient correlation that a pair must reach, in [-1, 1]; None takes 0.25.
        calibrate: take this percentile, in [0, 50], of the pairs' own scores as the threshold instead.
        check_views: leave out what is not an upright frontal chest film.
        check_mirrored: drop pairs that fit better mirrored; takes twice the time.
        report: also write register_report.html.
        processes: on this machine; None takes one for each core.
        scheduler: address of a Dask scheduler to use instead.

    Returns:
        The pairs and counts; a run that keeps no pair returns too, see `require_pairs`.

    Raises:
        ConfigError: if a setting is out of range, or settings contradict each other.
        TableError: if a table is missing, or there are too few pairs to calibrate on.
    """
    if min_score is not None and calibrate is not None:
        raise ConfigError("--min-score and --calibrate both set the threshold", action="Pass one of them")
    load = _loader(size, check_views)
    registrar = PairRegistrar(transform, toolkit, check_mirrored, accept_erased_disease)
    registrar.check()
    options: dict[str, Any] = {"min_score": min_score, "calibrate": calibrate, "report": report}
    return register_all(work, load, registrar, **options, workers=Workers.of(processes, scheduler))


def register_files(
    prior: str | Path,
    new: str | Path,
    out: str | Path,
    *,
    size: int = 128,
    check_views: bool = False,
    min_score: float | None = None,
    **settings: Any,
) -> tuple[Registration, str]:
    """Register two image files of any format and size, and write the registered new image as PNG.

    Args:
        prior: the earlier image.
        new: the later image.
        out: the PNG file to write.
        size, check_views, min_score: as for `register_pairs`.
        settings: of `PairRegistrar`.

    Returns:
        The registration, and the reason why `register_pairs` would drop this pair, "" if it would keep it.

    Raises:
        ConfigError: if a setting is out of range, or settings contradict each other.
        ImageError: if a file cannot be read, or the images do not overlap.
    """
    refuse_inputs([out], {"the prior": prior, "the new image": new})
    refuse_unwritable(out)
    load, registrar = _loader(size, check_views), PairRegistrar(**settings)
    registrar.check()
    threshold = _threshold(min_score)
    (prior_image, prior_content), (new_image, new_content) = load(prior), load(new)
    result = registrar(ImagePair(prior_image, new_image, prior_content, new_content))
    save_png(out, result.image)
    return result, rejection(result.measures, min_score=threshold)


def register_all(
    work: str | Path,
    load: LoadStudy,
    register: RegisterPair,
    *,
    min_score: float | None = None,
    calibrate: float | None = None,
    report: bool = False,
    workers: Workers = ALONE,
) -> RegisteredPairs:
    """As `register_pairs`, with any functions for a study and for a pair; `calibrate` wins over `min_score`."""
    threshold = _threshold(min_score, calibrate)
    work = Path(work)
    studies = read_studies(work)
    journeys = read_table(work / JOURNEYS_FILE, columns=JOURNEY_COLUMNS, made_by="journeys")
    _remove_leftovers(work)
    contents, images = convert_studies(studies, work, load, workers)
    _remove_leftovers(work)
    measured, registered = register_journeys(journeys, contents, work, register, workers)
    if calibrate is not None:
        threshold = calibrated_score(measured, percentile=calibrate)
    pairs = decide(measured, min_score=threshold)
    counts = _count(pairs, contents, threshold, calibrate)
    write_table(work / PAIRS_FILE, pairs)
    write_json(work / COUNTS_FILE, counts)
    write_rejected(work, "register", list_rejected(studies, contents, pairs), after=("cohort",))
    page = write_quality_page(work, pairs, counts) if report else None
    return RegisteredPairs(pairs, counts, images.done, images.reused, registered.done, registered.reused, page)


def require_pairs(registered: RegisteredPairs) -> None:
    """Raise a TableError if a run kept no pair, once everything that explains it is written."""
    if not registered.counts["kept"]:
        dropped = list_reasons(registered.counts["dropped"])
        raise TableError("some pairs must be kept", found=f"dropped: {dropped}", action="Check the images, --min-score")


def list_rejected(studies: pd.DataFrame, contents: Mapping[str, Content], pairs: pd.DataFrame) -> pd.DataFrame:
    """List unusable images and dropped pairs with their reasons: `rejections.REJECTED_COLUMNS` but the stage."""
    details = {dicom_id: content.detail for dicom_id, content in contents.items() if content.box is None}
    images = studies[studies["dicom_id"].isin(details)]
    images = images.assign(level="image", reason=images["dicom_id"].map(details))
    dropped = pairs[~pairs["kept"]].rename(columns={f"new_{name}": name for name in _OF_THE_NEW_IMAGE})
    dropped = dropped.assign(level="pair", reason=dropped["drop_reason"])
    columns = ["level", "reason", "subject_id", *_OF_THE_NEW_IMAGE]
    return pd.concat([images[columns], dropped[columns]], ignore_index=True)


def calibrated_score(measured: pd.DataFrame, *, percentile: float) -> float:
    """Compute a percentile, in [0, 50], of the scores of pairs within every other limit.

    Raises:
        TableError: if there are fewer than 20 such pairs.
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


def _loader(size: int, check_views: bool) -> StudyLoader:
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise SettingError("size", f"must be in [{MIN_SIZE}, {MAX_SIZE}]", found=str(size))
    return StudyLoader(size, check_views)


def _threshold(min_score: float | None, calibrate: float | None = None) -> float:
    if calibrate is not None and not 0 <= calibrate <= 50:
        raise SettingError("calibrate", "must be a percentile in [0, 50]", found=str(calibrate))
    if min_score is not None and not -1 <= min_score <= 1:
        raise SettingError("min_score", "must be in [-1, 1]", found=str(min_score))
    return MIN_SCORE if min_score is None else min_score


def _remove_leftovers(work: Path) -> None:
    """Remove the temporary files of a run that was killed while it wrote."""
    for leftover in (work / IMAGES_FOLDER).glob(".*-????????.*"):
        leftover.unlink(missing_ok=True)


def _count(
    pairs: pd.DataFrame, contents: Mapping[str, Content], min_score: float, calibrate: float | None
) -> dict[str, Any]:
    kept = pairs["kept"]
    missing = {dicom_id for dicom_id, content in contents.items() if content.box is None}
    before = set(pairs.loc[~pairs["prior_dicom_id"].isin(missing), "new_dicom_id"])
    after = set(pairs.loc[~pairs["new_dicom_id"].isin(missing), "prior_dicom_id"])
    return {
        "journeys": len(pairs),
        "kept": int(kept.sum()),
        "kept_by_split": pairs.loc[kept, "split"].value_counts().sort_index().to_dict(),
        "dropped": pairs.loc[~kept, "drop_reason"].value_counts().sort_index().to_dict(),
        "images_unreadable": len(missing),
        "unreadable_between_two_readable": len(missing & before & after),  # journeys that could be joined
        "min_score": min_score,
        "calibrated_at_percentile": calibrate,
    }
