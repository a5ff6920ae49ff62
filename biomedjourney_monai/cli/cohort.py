"""Find the eligible studies: PA view, one image per study, labels, age, race, split.

Three sources, one result. MIMIC-CXR-JPG with MIMIC-IV (--source); the rendered cohort, which has the same layout
(--source); a folder of DICOM files, however nested and named (--dicom), with reports from a table or .txt files.

What is left out is counted by reason, in cohort_drops.json and on the screen, and listed in rejected.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from biomedjourney_monai.preparation.cohort.selection import Cohort, CohortSettings
    from biomedjourney_monai.preparation.cohort.view_checks import ViewChecker

EXAMPLE = """biomedjourney cohort --source mimic --work work --check-views --report
  biomedjourney cohort --source phantom --work work
  biomedjourney cohort --dicom archive --reports reports.csv --work work --check-views"""

VIEW_RECORD = "view_checks.jsonl"


def configure(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--source", help="folder of MIMIC-CXR-JPG with MIMIC-IV's tables in it")
    source.add_argument("--dicom", metavar="FOLDER", help="folder of DICOM files, any nesting, any names")
    parser.add_argument(
        "--reports",
        metavar="PATH",
        help="with --source: folder of mimic-cxr-reports (default: found in the source); with --dicom: CSV table with "
        "accession_number or study_instance_uid and text, or folder of .txt files named by either",
    )
    parser.add_argument("--work", default="work", help="working folder (default: work)")
    parser.add_argument(
        "--labels",
        choices=["chexpert", "negbio", "report"],
        help="MIMIC's tables, or read from the reports' text (default: chexpert; with --dicom: report)",
    )
    parser.add_argument(
        "--uncertain",
        choices=["mask", "zeros", "ones"],
        default="mask",
        help="labels in doubt: kept as -1, which metrics leave out, or decided (default: mask)",
    )
    parser.add_argument(
        "--eligibility",
        choices=["labelled", "finding", "any"],
        default="labelled",
        help="labelled: a positive label, No Finding included; finding: a positive finding; any (default: labelled)",
    )
    parser.add_argument(
        "--split",
        choices=["paper", "official"],
        default="paper",
        help="paper: p10-p18 train and validate, p19 tests; official: MIMIC-CXR-JPG's table (default: paper)",
    )
    parser.add_argument(
        "--validation-share", type=float, default=0.1, help="share of validation patients in p10-p18 (default: 0.1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="draws the validation patients (default: 0)")
    views = parser.add_argument_group("view check, by image")
    views.add_argument(
        "--check-views",
        action="store_true",
        help="open each chosen image and drop what is lateral, inverted, rotated or no chest, whatever the table says",
    )
    views.add_argument("--check-mirrored", action="store_true", help="also drop what looks mirrored; misses a third")
    views.add_argument(
        "--view-model", metavar="FILE", help="local weights of torchxrayvision's ViewModel for frontal or lateral"
    )
    views.add_argument(
        "--unknown-view",
        choices=["drop", "image"],
        default="drop",
        help="images whose view no table names: left out, or taken if they look frontal, PA or AP (default: drop)",
    )
    parser.add_argument("--without-images", action="store_true", help="do not look whether the image files are there")
    parser.add_argument(
        "--pseudonym-key", metavar="FILE", help="with --dicom: a secret that the numbers for patients depend on"
    )
    parser.add_argument("--report", action="store_true", help="write cohort_report.html: counts by step and reason")
    parser.add_argument("--processes", type=int, default=0, help="default: one for each core")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask scheduler, to use its workers instead")


def run(args: argparse.Namespace) -> None:
    from biomedjourney_monai.preparation.cohort.selection import CohortSettings, select_studies
    from biomedjourney_monai.preparation.parallel import available_cores

    _check(args)
    work, processes = Path(args.work), args.processes or available_cores()
    settings = CohortSettings(
        split=args.split,
        eligibility=args.eligibility,
        validation_share=args.validation_share,
        seed=args.seed,
        uncertain=args.uncertain,
        unknown_view=args.unknown_view,
        require_files=not args.without_images,
        processes=processes,
        scheduler=args.scheduler,
    )
    checker = _open_checker(args, work, processes)
    cohort = select_studies(_open_source(args, work, processes), settings, checker=checker)
    counts = _write(work, cohort, settings, checker)
    if args.report:
        from biomedjourney_monai.preparation.quality.page import write_cohort_page

        print(f"report -> {write_cohort_page(work, cohort.studies, counts)}")


def _check(args: argparse.Namespace) -> None:
    from biomedjourney_monai.errors import ConfigError

    if not 0 <= args.validation_share < 1:
        raise ConfigError("--validation-share must be in [0, 1)", found=str(args.validation_share))
    if args.processes < 0:
        raise ConfigError("--processes must be >= 1, or 0 for one per core", found=str(args.processes))
    looks = args.check_views or args.check_mirrored or args.view_model or args.unknown_view == "image"
    if looks and not args.check_views:
        raise ConfigError("--check-mirrored, --view-model and --unknown-view image need --check-views")
    if looks and args.without_images:
        raise ConfigError("--check-views opens the images, so it does not go with --without-images")
    if args.dicom and args.labels not in (None, "report"):
        raise ConfigError("--dicom has no label tables", found=f"--labels {args.labels}", action="Use --labels report")
    if args.dicom and args.split == "official":
        raise ConfigError("--split official is MIMIC-CXR-JPG's", found="--dicom", action="Use --split paper")
    if args.dicom and not args.reports and args.eligibility != "any":
        raise ConfigError(
            "labels of --dicom come from reports", found="no --reports", action="Pass them, or --eligibility any"
        )
    if args.pseudonym_key and not args.dicom:
        raise ConfigError("--pseudonym-key goes with --dicom", found="--source")


def _open_source(args: argparse.Namespace, work: Path, processes: int):
    from biomedjourney_monai.preparation.cohort.dicom_folder import read_dicom_folder
    from biomedjourney_monai.preparation.cohort.mimic import read_mimic

    if args.dicom:
        key = Path(args.pseudonym_key).read_bytes().strip()[:64] if args.pseudonym_key else b""
        workers = {"processes": processes, "scheduler": args.scheduler}
        return read_dicom_folder(args.dicom, reports=args.reports, texts=work / "reports", key=key, **workers)
    official = args.split == "official"
    return read_mimic(args.source, reports=args.reports, labels=args.labels or "chexpert", official_split=official)


def _open_checker(args: argparse.Namespace, work: Path, processes: int) -> ViewChecker | None:
    if not args.check_views:
        return None
    from biomedjourney_monai.preparation.cohort.view_checks import ViewChecker

    if args.view_model:
        from biomedjourney_monai.radiographs.views.frontal_network import ViewModel

        ViewModel(args.view_model)  # bad weights are told before the work begins
    return ViewChecker(
        mirror=args.check_mirrored,
        view_model=str(Path(args.view_model).resolve()) if args.view_model else None,  # workers may stand elsewhere
        processes=processes,
        scheduler=args.scheduler,
        record=work / VIEW_RECORD,
    )


def _write(work: Path, cohort: Cohort, settings: CohortSettings, checker: ViewChecker | None) -> dict[str, Any]:
    from biomedjourney_monai.files import write_json, write_table, written_atomically
    from biomedjourney_monai.preparation.rejections import write_rejected
    from biomedjourney_monai.schema import STUDIES_FILE

    write_table(work / STUDIES_FILE, cohort.studies)
    listed = write_rejected(work, "cohort", cohort.rejections.table())
    lists = {"race_conflicts.csv": cohort.race_conflicts, "flagged.csv": cohort.flags}
    for name, table in lists.items():
        with written_atomically(work / name) as temporary:
            table.to_csv(temporary, index=False)
    flags = cohort.flags["flag"].value_counts().sort_index().to_dict()
    counts = {
        **cohort.sizes,
        "kept": len(cohort.studies),
        "kept_by_split": cohort.studies["split"].value_counts().sort_index().to_dict(),
        "without_report": int((cohort.studies["report_path"] == "").sum()),
        "patients_with_several_races": int(cohort.race_conflicts["subject_id"].nunique()),
        "images_dropped": cohort.image_drops,
        "studies_dropped": cohort.study_drops,
        "images_flagged": flags,
        "views_checked": checker is not None,
        "uncertain": settings.uncertain,
    }
    write_json(work / "cohort_drops.json", counts)
    by_split = ", ".join(f"{split} {count:,}" for split, count in counts["kept_by_split"].items())
    patients = cohort.studies["subject_id"].nunique()
    print(f"{len(cohort.studies):,} studies of {patients:,} patients kept ({by_split}) -> {work / STUDIES_FILE}")
    print(
        f"without a report, but kept: {counts['without_report']:,}; dropped images: {_listed(cohort.image_drops)}; "
        f"dropped studies: {_listed(cohort.study_drops)} -> {listed}"
    )
    if flags:
        print(f"flagged, but kept: {_listed(flags)} -> {work / 'flagged.csv'}")
    if cohort.studies["anchor_age"].isna().all():
        print("note: no ages: the source knows none of these patients' (MIMIC-IV's patients table; DICOM's PatientAge)")
    return counts


def _listed(drops: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in drops.items()) or "none"
