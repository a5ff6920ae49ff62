"""Pair consecutive studies of each patient, in the order of date and time."""

from __future__ import annotations

import argparse

EXAMPLE = "biomedjourney journeys --work work --max-days 365"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--work", default="work", help="working folder with studies.parquet (default: work)")
    parser.add_argument("--min-days", type=float, default=0.0, help="shortest interval between studies (default: 0)")
    parser.add_argument("--max-days", type=float, default=float("inf"), help="longest interval (default: no limit)")


def run(arguments: argparse.Namespace) -> None:
    """Find the journeys and print what was kept and dropped."""
    from biomedjourney_monai.preparation.journeys import find_journeys
    from biomedjourney_monai.preparation.rejections import list_reasons

    found = find_journeys(arguments.work, min_days=arguments.min_days, max_days=arguments.max_days)
    splits = ", ".join(f"{split} {count:,}" for split, count in found.kept_by_split.items())
    patients = found.journeys["subject_id"].nunique()
    print(f"{len(found.journeys):,} journeys of {patients:,} patients kept ({splits}) -> {found.path}")
    print(f"dropped: {list_reasons(found.drops)}")
