"""Pair the studies of each patient, in the order of date and time; by default consecutive ones."""

import argparse

EXAMPLE = """biomedjourney journeys --work work --max-days 365
  biomedjourney journeys --work work --visits-apart all"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--work", default="work", help="working folder with studies.parquet (default: work)")
    parser.add_argument("--min-days", type=float, default=0.0, help="shortest interval between studies (default: 0)")
    parser.add_argument("--max-days", type=float, default=float("inf"), help="longest interval (default: no limit)")
    parser.add_argument(
        "--visits-apart",
        default="1",
        metavar="N",
        help="pair each study with the next N of its patient, or with all later ones: all (default: 1)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Find the journeys and print what was kept and dropped."""
    from biomedjourney_monai.errors import SettingError
    from biomedjourney_monai.preparation.journeys import find_journeys
    from biomedjourney_monai.preparation.rejections import list_reasons

    text = arguments.visits_apart
    if text != "all" and not text.isdecimal():
        raise SettingError("visits_apart", "must be a whole number >= 1, or all", found=text)
    found = find_journeys(
        arguments.work,
        min_days=arguments.min_days,
        max_days=arguments.max_days,
        visits_apart=None if text == "all" else int(text),
    )
    splits = ", ".join(f"{split} {count:,}" for split, count in found.kept_by_split.items())
    patients = found.journeys["subject_id"].nunique()
    print(f"{len(found.journeys):,} journeys of {patients:,} patients kept ({splits}) -> {found.path}")
    print(f"dropped: {list_reasons(found.drops)}")
