"""Pair consecutive studies of each patient, in the order of date and time."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = "biomedjourney journeys --work work --max-days 365"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work", default="work", help="working folder with studies.parquet (default: work)")
    parser.add_argument("--min-days", type=float, default=0.0, help="shortest interval between studies (default: 0)")
    parser.add_argument("--max-days", type=float, default=float("inf"), help="longest interval (default: no limit)")


def run(args: argparse.Namespace) -> None:
    from biomedjourney_monai.errors import ConfigError, TableError
    from biomedjourney_monai.files import write_json, write_table
    from biomedjourney_monai.preparation.cohort.study_table import read_studies
    from biomedjourney_monai.preparation.journeys import build_journeys
    from biomedjourney_monai.schema import JOURNEYS_FILE

    if not 0 <= args.min_days <= args.max_days:
        raise ConfigError(
            "--min-days must be >= 0 and <= --max-days", found=f"--min-days {args.min_days} --max-days {args.max_days}"
        )
    work = Path(args.work)
    studies = read_studies(work)
    journeys, drops = build_journeys(studies, min_days=args.min_days, max_days=args.max_days)
    if journeys.empty:
        raise TableError(
            "a cohort must have patients with two studies",
            found=f"no journey among {len(studies):,} studies; dropped: {drops or 'none'}",
            action="Widen --min-days and --max-days",
        )
    write_table(work / JOURNEYS_FILE, journeys)
    by_split = journeys["split"].value_counts().sort_index().to_dict()
    write_json(work / "journeys_drops.json", {"kept": len(journeys), "kept_by_split": by_split, "dropped": drops})
    splits = ", ".join(f"{split} {count:,}" for split, count in by_split.items())
    patients = journeys["subject_id"].nunique()
    print(f"{len(journeys):,} journeys of {patients:,} patients kept ({splits}) -> {work / JOURNEYS_FILE}")
    print(f"dropped: {', '.join(f'{reason} {count:,}' for reason, count in drops.items()) or 'none'}")
