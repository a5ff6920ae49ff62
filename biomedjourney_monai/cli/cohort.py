"""Find the eligible studies of MIMIC-CXR-JPG with MIMIC-IV: PA view, one image per study, labels, age, race, split.

What is left out is counted by reason, in cohort_drops.json and on the screen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = "biomedjourney cohort --source mimic --work work --split paper"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", required=True, help="folder of MIMIC-CXR-JPG with MIMIC-IV's tables in it")
    parser.add_argument("--reports", help="folder of mimic-cxr-reports (default: found in the source)")
    parser.add_argument("--work", default="work", help="working folder (default: work)")
    parser.add_argument(
        "--split",
        choices=["paper", "official"],
        default="paper",
        help="paper: p10-p18 train and validate, p19 tests; official: MIMIC-CXR-JPG's table (default: paper)",
    )
    parser.add_argument(
        "--eligibility",
        choices=["labelled", "finding", "any"],
        default="labelled",
        help="labelled: a positive label, No Finding included; finding: a positive finding; any (default: labelled)",
    )
    parser.add_argument(
        "--validation-share", type=float, default=0.1, help="share of validation patients in p10-p18 (default: 0.1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="draws the validation patients (default: 0)")


def run(args: argparse.Namespace) -> None:
    from biomedjourney_monai.errors import ConfigError
    from biomedjourney_monai.files import write_json, write_table
    from biomedjourney_monai.preparation.cohort import build_cohort
    from biomedjourney_monai.schema import STUDIES_FILE

    if not 0 <= args.validation_share < 1:
        raise ConfigError("--validation-share must be in [0, 1)", found=str(args.validation_share))
    cohort = build_cohort(
        args.source,
        reports=args.reports,
        split=args.split,
        eligibility=args.eligibility,
        validation_share=args.validation_share,
        seed=args.seed,
    )
    work = Path(args.work)
    write_table(work / STUDIES_FILE, cohort.studies)
    counts = {
        "kept": len(cohort.studies),
        "kept_by_split": cohort.studies["split"].value_counts().sort_index().to_dict(),
        "without_report": int((cohort.studies["report_path"] == "").sum()),
        "patients_with_several_races": cohort.race_conflicts,
        "images_dropped": cohort.image_drops,
        "studies_dropped": cohort.study_drops,
    }
    write_json(work / "cohort_drops.json", counts)
    by_split = ", ".join(f"{split} {count:,}" for split, count in counts["kept_by_split"].items())
    patients = cohort.studies["subject_id"].nunique()
    print(f"{len(cohort.studies):,} studies of {patients:,} patients kept ({by_split}) -> {work / STUDIES_FILE}")
    print(
        f"dropped images: {_listed(cohort.image_drops)}; dropped studies: {_listed(cohort.study_drops)}; "
        f"without a report, but kept: {counts['without_report']:,}"
    )
    if cohort.studies["anchor_age"].isna().all():
        print("note: no ages: MIMIC-IV's patients table was not found in the source, or knows none of these patients")


def _listed(drops: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in drops.items()) or "none"
