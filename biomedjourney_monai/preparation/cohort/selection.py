"""Choose the eligible studies of a source, one row each, with labels from its tables or from the reports.

The rules, in order. Images: view PA, by ViewPosition, or by ViewCodeSequence where that is empty; the file exists. Of
a study's images the one with the most pixels is taken, then the first by dicom_id (PA before AP, if AP is allowed); if
the view check is on and refuses it, the next one. Studies: date and time usable; labels that make the study eligible; a
split. Everything left out is noted with its reason.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from biomedjourney_monai.errors import SettingError, TableError
from biomedjourney_monai.preparation.cohort.source import Source, paper_split, parse_study_datetime
from biomedjourney_monai.preparation.cohort.view_checks import DOUBT, ViewChecker
from biomedjourney_monai.preparation.parallel import ALONE, Workers, map_in_processes
from biomedjourney_monai.preparation.rejections import Rejections
from biomedjourney_monai.preparation.reports.sections import read_report
from biomedjourney_monai.preparation.reports.text_labels import read_labels
from biomedjourney_monai.schema import CHEXPERT_LABELS, ORDER_FROM, STUDY_COLUMNS

UNCERTAIN = ("mask", "zeros", "ones")


def read_study_labels(report_paths: Sequence[str], workers: Workers = ALONE) -> pd.DataFrame:
    """Read the 14 labels from reports, one path per study, "" if there is no report.

    Returns:
        One row per study in the same order, the 14 labels as float32 in {1, 0, -1, NaN}; all NaN without a report.
    """
    rows = map_in_processes(_read_one, list(report_paths), title="labels", unit="reports", **vars(workers))
    return pd.DataFrame(list(rows), columns=list(CHEXPERT_LABELS), dtype="float32")


def apply_uncertain(labels: pd.DataFrame, policy: str) -> pd.DataFrame:
    """Replace -1 in the label columns: "mask" leaves it, which metrics leave out; "zeros" and "ones" replace it."""
    if policy == "mask":
        return labels
    columns = list(CHEXPERT_LABELS)
    decided = labels[columns].mask(labels[columns] == -1, 1.0 if policy == "ones" else 0.0)
    return labels.assign(**{column: decided[column] for column in columns})


def _read_one(path: str) -> list[float]:
    report = read_report(path)
    labels = read_labels(f"{report.summary}\n{report.addendum}".strip())
    return [labels[label] for label in CHEXPERT_LABELS]


CHOICES = {
    "split": ("paper", "official"),
    "eligibility": ("labelled", "finding", "any"),
    "uncertain": UNCERTAIN,
    "unknown_view": ("drop", "image"),
}
VIEWS = {"PA": "posteroanterior", "AP": "anteroposterior"}
"""ViewPosition → the view code's meaning, letters only."""

NOT_FINDINGS = ("No Finding", "Support Devices")


@dataclass(frozen=True)
class CohortSettings:
    """The rules of eligibility.

    Args:
        split: "paper" (p10–p18 and p19) or "official" (the source's own).
        eligibility: "labelled" keeps studies with at least one positive label, No Finding included, so that recovery
            to a normal radiograph stays a journey; "finding" requires a positive finding, as a strict reading of the
            paper does; "any" keeps all.
        validation_share: of the patients in p10–p18, for the paper's split, in [0, 1).
        seed: draws the validation patients.
        uncertain: "mask" keeps uncertain labels as -1, which metrics leave out; "zeros" and "ones" replace them.
        unknown_view: images without ViewPosition and view code: "drop", or let the "image" decide, with a view
            checker; an image can separate frontal from lateral, but not PA from AP.
        require_files: False does not check that the image files exist.
        workers: that read reports.
        views: of the images to take, "PA", "AP" or both, the preferred one first.

    Raises:
        SettingError: naming the setting and its range.
    """

    split: str = "paper"
    eligibility: str = "labelled"
    validation_share: float = 0.1
    seed: int = 0
    uncertain: str = "mask"
    unknown_view: str = "drop"
    require_files: bool = True
    workers: Workers = ALONE
    views: tuple[str, ...] = ("PA",)

    def __post_init__(self) -> None:
        if not 0 <= self.validation_share < 1:
            raise SettingError("validation_share", "must be in [0, 1)", found=str(self.validation_share))
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise SettingError(name, f"must be one of {', '.join(choices)}", found=repr(getattr(self, name)))
        if not self.views or not set(self.views) <= VIEWS.keys():
            raise SettingError(
                "views", f"must be of {', '.join(VIEWS)}", found=", ".join(map(repr, self.views)) or "none"
            )


@dataclass(frozen=True)
class Cohort:
    """The eligible studies, and what was left out.

    Args:
        studies: columns `schema.STUDY_COLUMNS`, in order of subject and time.
        rejections: images and studies that were left out, with their reasons.
        race_conflicts: patients with more than one race recorded: subject_id, race, count, chosen.
        flags: chosen images to look at: dicom_id, flag.
        sizes: number of images, studies and PA images of the source.
    """

    studies: pd.DataFrame
    rejections: Rejections
    race_conflicts: pd.DataFrame
    flags: pd.DataFrame
    sizes: dict[str, int]


def select_studies(
    source: Source, settings: CohortSettings | None = None, *, checker: ViewChecker | None = None
) -> Cohort:
    """Choose one image of each eligible study.

    Args:
        source: all images.
        settings: the rules; None takes the defaults.
        checker: looks at the chosen images; None trusts the source's views.

    Returns:
        The cohort; labels keep their raw values unless `settings.uncertain` replaces them.

    Raises:
        TableError: if no study is eligible.
    """
    settings = settings or CohortSettings()
    rejections = source.rejections
    sizes = {
        "images": len(source.images) + sum(rejections.counts("image").values()),
        "studies": source.images["study_id"].nunique() + sum(rejections.counts("study").values()),
        "pa_images": int((read_views(source.images) == "PA").sum()),
    }
    studies, doubts = _choose_images(source, settings, checker)
    if "study_datetime" not in studies:
        studies = studies.assign(study_datetime=parse_study_datetime(studies["StudyDate"], studies["StudyTime"]))
    usable = studies["study_datetime"].notna()
    studies = rejections.keep_studies(studies, usable, "study date or time unusable")
    studies = studies.assign(report_path=source.find_reports(studies))
    studies = _add_labels(studies, source, settings)
    if source.labels is None and settings.eligibility != "any":
        is_read = studies["report_path"].eq("") | studies[list(CHEXPERT_LABELS)].notna().any(axis=1)
        studies = rejections.keep_studies(studies, is_read, "report not understood")
    eligible = is_eligible(studies, settings.eligibility)
    studies = rejections.keep_studies(studies, eligible, "labels not eligible")
    studies = studies.assign(split=_splits(studies, source, settings))
    studies = rejections.keep_studies(studies, studies["split"].notna(), "no split")
    if studies.empty:
        counts = rejections.counts("image") | rejections.counts("study")
        reasons = ", ".join(f"{reason}: {count}" for reason, count in counts.items())
        raise TableError("a cohort must have eligible studies", found=f"none ({reasons})", action="Check the source")
    studies = _add_demographics(studies, source)
    studies = studies.sort_values(["subject_id", "study_datetime", "study_id"], ignore_index=True)
    flags = pd.concat([source.flags, doubts])
    flags = flags[flags["dicom_id"].isin(studies["dicom_id"])]
    columns = [*STUDY_COLUMNS, *([ORDER_FROM] if ORDER_FROM in studies else [])]
    return Cohort(studies[columns], rejections, source.race_conflicts, flags, sizes)


def read_views(images: pd.DataFrame) -> pd.Series:
    """ "PA", "AP", another view, or "" if no view is named: by ViewPosition, or where it is empty by the view code."""
    position = images["ViewPosition"].fillna("").str.strip().str.upper()
    code = images["ViewCodeSequence_CodeMeaning"].fillna("").str.lower().str.replace(r"[^a-z]", "", regex=True)
    return position.where(position != "", code.replace({meaning: view for view, meaning in VIEWS.items()}))


def is_eligible(studies: pd.DataFrame, eligibility: str) -> pd.Series:
    """Whether each study's labels make it eligible; see `CohortSettings`."""
    if eligibility == "any":
        return pd.Series(True, index=studies.index)
    counted = [label for label in CHEXPERT_LABELS if eligibility == "labelled" or label not in NOT_FINDINGS]
    return (studies[counted] == 1).any(axis=1)


def _choose_images(
    source: Source, settings: CohortSettings, checker: ViewChecker | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One image of each study, and the flags of those whose view is in doubt."""
    rejections, images = source.rejections, source.images
    views, wanted = read_views(images), " or ".join(settings.views)
    unknown, fitting = views == "", views.isin(settings.views)
    images = images.assign(view_position=views.where(fitting, "FRONTAL"))
    if settings.unknown_view == "image" and checker is not None:
        fitting |= unknown
    images = rejections.keep_images(images, fitting | ~unknown, "view unknown")
    images = rejections.keep_images(images, fitting[images.index], f"view not {wanted}")
    without = source.images[~source.images["study_id"].isin(images["study_id"])].drop_duplicates("study_id")
    rejections.add("study", f"no {wanted} image", without[["subject_id", "study_id"]])
    images = images.assign(preference=images["view_position"].map([*settings.views, "FRONTAL"].index))
    if settings.require_files:
        on_disk = images["image_path"].map(os.path.isfile).astype(bool)
        images = rejections.keep_images(images, on_disk, "image file missing", last="image file missing")
    doubts = images.iloc[:0][["dicom_id"]].assign(flag="")
    if checker is not None:
        images, doubts = _check_views(images, checker, rejections)
    chosen = _in_order_of_choice(images).drop_duplicates("study_id")
    rejections.keep_images(images, images["dicom_id"].isin(chosen["dicom_id"]), "another image of the study chosen")
    return chosen, doubts


def _check_views(
    images: pd.DataFrame, checker: ViewChecker, rejections: Rejections
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Refuse images that contradict the source's view, looking at each study's best image first."""
    left, refused, doubts = _in_order_of_choice(images), [], []
    seen: set[str] = set()
    while True:
        chosen = left.drop_duplicates("study_id")
        chosen = chosen[~chosen["dicom_id"].isin(seen)]
        if chosen.empty:
            break
        seen.update(chosen["dicom_id"])
        reasons = pd.Series(checker.check(chosen["image_path"].tolist()), index=chosen.index, dtype=object)
        in_doubt = reasons.str.startswith(DOUBT)
        doubts.append(chosen.loc[in_doubt, ["dicom_id"]].assign(flag=reasons[in_doubt]))
        reasons = reasons[(reasons != "") & ~in_doubt]
        bad = chosen.loc[reasons.index].assign(reason=reasons)
        refused.append(bad)
        left = left.drop(index=bad.index)
    everything = pd.concat(refused) if refused else left.iloc[:0].assign(reason="")
    for reason, rows in everything.groupby("reason", sort=True):
        rejections.add("image", str(reason), rows.drop(columns="reason"))
    gone = images[~images["study_id"].isin(left["study_id"])].drop_duplicates("study_id")
    rejections.add("study", "no image passes the view check", gone[["subject_id", "study_id"]])
    return left, pd.concat(doubts) if doubts else images.iloc[:0][["dicom_id"]].assign(flag="")


def _in_order_of_choice(images: pd.DataFrame) -> pd.DataFrame:
    """Order a study's images by the preference of their view, then by the number of pixels, then by dicom_id."""
    ordered = images.assign(pixels=images["Rows"].fillna(0) * images["Columns"].fillna(0))
    order = ["study_id", "preference", "pixels", "dicom_id"]
    ordered = ordered.sort_values(order, ascending=[True, True, False, True])
    return ordered.drop(columns="pixels")


def _add_labels(studies: pd.DataFrame, source: Source, settings: CohortSettings) -> pd.DataFrame:
    labels = source.labels
    if labels is None:
        paths = studies["report_path"].tolist()
        labels = read_study_labels(paths, settings.workers)
        labels = labels.assign(study_id=studies["study_id"].to_numpy())
    return studies.merge(apply_uncertain(labels, settings.uncertain), on="study_id", how="left")


def _splits(studies: pd.DataFrame, source: Source, settings: CohortSettings) -> pd.Series:
    if settings.split == "paper":
        return paper_split(studies["subject_id"], validation_share=settings.validation_share, seed=settings.seed)
    if source.split is None:
        raise TableError("an official split must come with the source", found="none", action="Use --split paper")
    return studies["dicom_id"].map(source.split)


def _add_demographics(studies: pd.DataFrame, source: Source) -> pd.DataFrame:
    studies = studies.merge(source.demographics, on="subject_id", how="left")
    for column in ("sex", "race"):
        studies[column] = studies[column].fillna("").astype(str)
    anchor_age = studies["anchor_age"].astype("float64")
    ages = anchor_age + studies["study_datetime"].dt.year - studies["anchor_year"].astype("float64")
    if source.ages is not None:
        ages = studies["study_id"].map(source.ages).astype("float64").fillna(ages)
    return studies.assign(anchor_age=anchor_age, age_at_study=ages)
