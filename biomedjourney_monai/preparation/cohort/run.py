"""The cohort stage: a source of images → studies.parquet, and what was left out by reason.

Also written: cohort_drops.json (counts), rejected.csv, race_conflicts.csv, flagged.csv and, on request, a report page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from biomedjourney_monai.errors import ConfigError, SettingError
from biomedjourney_monai.files import write_json, write_table, written_atomically
from biomedjourney_monai.preparation.cohort.chestxray14 import read_chestxray14
from biomedjourney_monai.preparation.cohort.chexpert import read_chexpert
from biomedjourney_monai.preparation.cohort.dicom_folder import read_dicom_folder
from biomedjourney_monai.preparation.cohort.mimic import LABELS, read_mimic
from biomedjourney_monai.preparation.cohort.selection import Cohort, CohortSettings, select_studies
from biomedjourney_monai.preparation.cohort.source import Source
from biomedjourney_monai.preparation.cohort.view_checks import ViewChecker, open_view_model
from biomedjourney_monai.preparation.parallel import Workers
from biomedjourney_monai.preparation.quality.page import COHORT_COUNTS, write_cohort_page
from biomedjourney_monai.preparation.rejections import write_rejected
from biomedjourney_monai.schema import ORDER_FROM, STUDIES_FILE

VIEW_RECORD = "view_checks.jsonl"
SOURCES = ("mimic", "dicom", "chestxray14", "chexpert")
PUBLIC = ("chestxray14", "chexpert")
OPTIONS = {"mimic": "--source", **{kind: f"--{kind}" for kind in SOURCES[1:]}}
"""Kind of source → its option."""


@dataclass(frozen=True)
class FoundStudies:
    """The result of a cohort run.

    Args:
        studies: columns `schema.STUDY_COLUMNS`.
        counts: as in cohort_drops.json.
        rejected: the table of what was left out, rejected.csv.
        report: the HTML page, if it was asked for.
    """

    studies: pd.DataFrame
    counts: dict[str, Any]
    rejected: Path
    report: Path | None = None


def find_studies(
    source: str | Path,
    work: str | Path = "work",
    *,
    kind: str = "mimic",
    reports: str | Path | None = None,
    labels: str | None = None,
    uncertain: str = "mask",
    eligibility: str = "labelled",
    split: str | None = None,
    validation_share: float = 0.1,
    seed: int = 0,
    check_views: bool = False,
    check_mirrored: bool = False,
    view_model: str | Path | None = None,
    unknown_view: str = "drop",
    views: Sequence[str] = ("PA",),
    require_files: bool = True,
    pseudonym_key: str | Path | None = None,
    report: bool = False,
    processes: int | None = None,
    scheduler: str | None = None,
) -> FoundStudies:
    """Find the eligible studies of a source, and write studies.parquet and the counts to the working folder.

    Args:
        source: folder of MIMIC-CXR-JPG with MIMIC-IV's tables, or of a rendered cohort; or a folder of DICOM files; or
            the folder of ChestX-ray14, CheXpert or CheXpert Plus.
        work: the working folder.
        kind: "mimic", "dicom", "chestxray14" or "chexpert".
        reports: folder of mimic-cxr-reports, by default found in the source; for DICOM see `read_dicom_folder`.
        labels: "chexpert", "negbio" (MIMIC's tables) or "report" (from the reports' text, default for DICOM).
        split: "paper" or "official", see `CohortSettings`; None takes "official" for ChestX-ray14 and CheXpert, else
            "paper".
        uncertain, eligibility, validation_share, seed, unknown_view, views, require_files: see `CohortSettings`.
        check_views: open each chosen image and drop what is not an upright frontal chest film.
        check_mirrored: also drop what looks mirrored.
        view_model: local weights of torchxrayvision's ViewModel, which then separates frontal from lateral.
        pseudonym_key: file with a secret that the patients' numbers depend on, for DICOM.
        report: also write cohort_report.html.
        processes: on this machine; None takes one for each core.
        scheduler: address of a Dask scheduler to use instead.

    Raises:
        ConfigError: if a setting is out of range, or settings contradict each other.
        TableError: if the source is missing or malformed, or no study is eligible.
    """
    workers = Workers.of(processes, scheduler)
    rules = CohortSettings(
        split or ("official" if kind in PUBLIC else "paper"),
        eligibility, validation_share, seed, uncertain, unknown_view, require_files, workers, tuple(views),
    )  # fmt: skip
    opener = _SourceOpener(kind, reports, labels, pseudonym_key)
    opener.check(rules)
    _check_views(rules, check_views=check_views, extra=bool(check_mirrored or view_model))
    work = Path(work)
    checker = _open_checker(work, check_mirrored, view_model, workers) if check_views else None
    opened = opener.open(source, work, rules)
    return _write(work, select_studies(opened, rules, checker=checker), rules, checker, report=report)


def _check_views(rules: CohortSettings, *, check_views: bool, extra: bool) -> None:
    if (extra or rules.unknown_view == "image") and not check_views:
        raise ConfigError("--check-mirrored, --view-model and --unknown-view image need --check-views")
    if check_views and not rules.require_files:
        raise ConfigError("--check-views opens the images, so it cannot be combined with --without-images")


@dataclass(frozen=True)
class _SourceOpener:
    kind: str
    reports: str | Path | None
    labels: str | None
    pseudonym_key: str | Path | None

    def check(self, rules: CohortSettings) -> None:
        """Refuse values that do not exist, and settings that do not fit the kind of source."""
        for name, choices in (("kind", SOURCES), ("labels", (None, *LABELS, "report"))):
            value = getattr(self, name)
            if value not in choices:
                listed = ", ".join(choice for choice in choices if choice)
                raise SettingError(name, f"must be one of {listed}", found=repr(value))
        option = OPTIONS[self.kind]
        if self.kind != "dicom" and self.pseudonym_key:
            raise ConfigError("--pseudonym-key needs --dicom", found=option)
        if self.kind == "dicom":
            self._check_dicom(rules)
        elif self.kind in PUBLIC:
            if self.reports or self.labels not in ((None, "report") if self.kind == "chexpert" else (None,)):
                found = "--reports" if self.reports else "--labels"
                raise ConfigError(f"{option} brings its own labels and reports", found=found)
            if rules.split == "paper":
                action = "Use --split official"
                raise ConfigError("--split paper is MIMIC's", found=option, action=action)

    def _check_dicom(self, rules: CohortSettings) -> None:
        if self.labels not in (None, "report"):
            labels = f"--labels {self.labels}"
            raise ConfigError("--dicom has no label tables", found=labels, action="Use --labels report")
        if rules.split == "official":
            raise ConfigError("--dicom has no official split", found="--split official", action="Use --split paper")
        if not self.reports and rules.eligibility != "any":
            action = "Pass them, or --eligibility any"
            raise ConfigError("labels of --dicom come from reports", found="no --reports", action=action)

    def open(self, source: str | Path, work: Path, rules: CohortSettings) -> Source:
        """Read the source."""
        if self.kind == "mimic":
            official, labels = rules.split == "official", self.labels or "chexpert"
            return read_mimic(source, reports=self.reports, labels=labels, official_split=official)
        if self.kind == "chestxray14":
            share, seed, files = rules.validation_share, rules.seed, rules.require_files
            return read_chestxray14(source, validation_share=share, seed=seed, require_files=files)
        if self.kind == "chexpert":
            share, seed = rules.validation_share, rules.seed
            texts = work / "reports"
            return read_chexpert(source, labels=self.labels, texts=texts, validation_share=share, seed=seed)
        key = Path(self.pseudonym_key).read_bytes().strip()[:64] if self.pseudonym_key else b""
        texts = work / "reports"
        return read_dicom_folder(source, reports=self.reports, texts=texts, key=key, workers=rules.workers)


def _open_checker(work: Path, mirror: bool, view_model: str | Path | None, workers: Workers) -> ViewChecker:
    weights = str(Path(view_model).resolve()) if view_model else None  # workers may run in another folder
    if weights:
        open_view_model(weights)  # reports bad weights before the work begins
    return ViewChecker(mirror, view_model=weights, workers=workers, record=work / VIEW_RECORD)


def _write(
    work: Path, cohort: Cohort, rules: CohortSettings, checker: ViewChecker | None, *, report: bool
) -> FoundStudies:
    studies, rejections = cohort.studies, cohort.rejections
    write_table(work / STUDIES_FILE, studies)
    rejected = write_rejected(work, "cohort", rejections.table())
    for name, table in (("race_conflicts.csv", cohort.race_conflicts), ("flagged.csv", cohort.flags)):
        with written_atomically(work / name) as temporary:
            table.to_csv(temporary, index=False)
    counts = {
        **cohort.sizes,
        "kept": len(studies),
        "kept_by_split": studies["split"].value_counts().sort_index().to_dict(),
        "without_report": int((studies["report_path"] == "").sum()),
        "patients_with_several_races": int(cohort.race_conflicts["subject_id"].nunique()),
        "images_dropped": rejections.counts("image"),
        "studies_dropped": rejections.counts("study"),
        "images_flagged": cohort.flags["flag"].value_counts().sort_index().to_dict(),
        "views_checked": checker is not None,
        "uncertain": rules.uncertain,
        "eligibility": rules.eligibility,
        "views": list(rules.views),
    }
    if ORDER_FROM in studies:
        counts[ORDER_FROM] = studies[ORDER_FROM].value_counts().sort_index().to_dict()
    write_json(work / COHORT_COUNTS, counts)
    page = write_cohort_page(work, studies, counts) if report else None
    return FoundStudies(studies, counts, rejected, page)
