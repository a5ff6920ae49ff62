"""Find the eligible studies: PA view, one image per study, labels, age, race, split.

Several sources, one result. MIMIC-CXR-JPG with MIMIC-IV (--source); the rendered cohort, which has the same layout
(--source); a folder of DICOM files of any nesting and names (--dicom), with reports from a table or .txt files;
ChestX-ray14 (--chestxray14), all of its folders or some; CheXpert or CheXpert Plus (--chexpert).

What is left out is counted by reason, in cohort_drops.json and on the screen, and listed in rejected.csv.
"""

import argparse
from pathlib import Path

from biomedjourney_monai.cli.arguments import pick

EXAMPLE = """biomedjourney cohort --source mimic --work work --check-views --report
  biomedjourney cohort --source phantom --work work
  biomedjourney cohort --dicom archive --reports reports.csv --work work --check-views
  biomedjourney cohort --chestxray14 nih --work work --views PA AP"""

SETTINGS = "reports labels uncertain eligibility split validation_share seed check_views check_mirrored view_model"
SETTINGS += " unknown_view views pseudonym_key report processes scheduler"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--source", help="folder of MIMIC-CXR-JPG with MIMIC-IV's tables in it")
    source.add_argument("--dicom", metavar="FOLDER", help="folder of DICOM files, any nesting, any names")
    source.add_argument("--chestxray14", metavar="FOLDER", help="folder of ChestX-ray14: table, lists, images…")
    source.add_argument("--chexpert", metavar="FOLDER", help="folder of CheXpert, or of CheXpert Plus: tables, images")
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
        help="uncertain labels: kept as -1, which metrics leave out, or set to 0 or 1 (default: mask)",
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
        help="paper: p10-p18 train and validate, p19 tests; official: the source's own (default: paper; with "
        "--chestxray14 and --chexpert: official, where validation patients are drawn from its training patients)",
    )
    parser.add_argument(
        "--validation-share", type=float, default=0.1, help="share of validation patients (default: 0.1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="draws the validation patients (default: 0)")
    _configure_views(parser.add_argument_group("views"))
    parser.add_argument("--without-images", action="store_true", help="do not check that the image files exist")
    parser.add_argument(
        "--pseudonym-key", metavar="FILE", help="with --dicom: a secret that the patients' numbers depend on"
    )
    parser.add_argument("--report", action="store_true", help="write cohort_report.html: counts by step and reason")
    parser.add_argument("--processes", type=int, default=0, help="default: one for each core")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask scheduler, to use its workers instead")


def _configure_views(views: argparse._ArgumentGroup) -> None:
    views.add_argument(
        "--views",
        nargs="+",
        choices=["PA", "AP"],
        default=["PA"],
        help="views to take, the preferred first (default: PA)",
    )
    views.add_argument(
        "--check-views",
        action="store_true",
        help="open each chosen image and drop it if it is lateral, inverted, rotated or not a chest, whatever the "
        "table says",
    )
    views.add_argument("--check-mirrored", action="store_true", help="also drop what looks mirrored; misses a third")
    views.add_argument(
        "--view-model", metavar="FILE", help="local weights of torchxrayvision's ViewModel for frontal or lateral"
    )
    views.add_argument(
        "--unknown-view",
        choices=["drop", "image"],
        default="drop",
        help="images whose view no table names: left out, or kept if they look frontal, PA or AP (default: drop)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Find the studies and print what was kept and dropped."""
    from biomedjourney_monai.preparation.cohort.run import SOURCES, find_studies
    from biomedjourney_monai.preparation.rejections import list_reasons
    from biomedjourney_monai.schema import STUDIES_FILE

    work = Path(arguments.work)
    kind = next((kind for kind in SOURCES[1:] if getattr(arguments, kind)), "mimic")
    found = find_studies(
        arguments.source or getattr(arguments, kind),
        work,
        kind=kind,
        require_files=not arguments.without_images,
        **pick(arguments, SETTINGS),
    )
    studies, counts = found.studies, found.counts
    by_split = ", ".join(f"{split} {count:,}" for split, count in counts["kept_by_split"].items())
    patients = studies["subject_id"].nunique()
    print(f"{len(studies):,} studies of {patients:,} patients kept ({by_split}) -> {work / STUDIES_FILE}")
    print(
        f"without a report, but kept: {counts['without_report']:,}; "
        f"dropped images: {list_reasons(counts['images_dropped'])}; "
        f"dropped studies: {list_reasons(counts['studies_dropped'])} -> {found.rejected}"
    )
    if counts["images_flagged"]:
        print(f"flagged, but kept: {list_reasons(counts['images_flagged'])} -> {work / 'flagged.csv'}")
    if studies["anchor_age"].isna().all():
        print("note: no ages: the source has none for these patients (MIMIC-IV's patients table; DICOM's PatientAge)")
    if found.report:
        print(f"report -> {found.report}")
