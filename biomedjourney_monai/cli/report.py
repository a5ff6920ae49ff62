"""Write one HTML page of tables, intervals and pictures from an evaluated working folder.

The page is self-contained: it can be mailed, and opens without a network. The numbers, the settings and the page are
also recorded as a run of MLflow.
"""

import argparse
from pathlib import Path

from biomedjourney_monai.cli.arguments import pick, settings_as_options

EXAMPLE = (
    "biomedjourney report --work work\n"
    "  biomedjourney report --work work --truth cohort/truth --ablation ablation --ladder ladder\n"
    "  biomedjourney report --work work --picture journeys.jpg --picture-journeys 7 --seed 20263"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--work", type=Path, default=Path("work"), help="working folder (default: work)")
    parser.add_argument("--out", type=Path, help="folder for index.html (default: WORK/report)")
    parser.add_argument("--panels", type=int, default=12, help="journeys to show, 0 for no pictures (default: 12)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of the journeys to show (default: 0)")
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="also draw journeys of the samples at random into one JPEG or PNG: prior, counterfactual, real next image"
        " and the change, a row each",
    )
    parser.add_argument("--picture-journeys", type=int, default=7, metavar="N", help="journeys in it (default: 7)")
    parser.add_argument(
        "--judge-weights",
        type=Path,
        metavar="DIR",
        help="folder of the evaluation's judges, for contours and heat maps (default: models/ of the bundle)",
    )
    parser.add_argument("--truth", type=Path, metavar="DIR", help="true counterfactuals of rendered patients, to show")
    parser.add_argument(
        "--ablation", type=Path, metavar="DIR", help="folder of `ablation`, for the paper's Tables 2 and 5"
    )
    parser.add_argument(
        "--ladder", type=Path, metavar="DIR", action="append", default=[], help="folder of `ladder`, to show its strip"
    )
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow's store, or none (default: WORK/runs/mlruns.db, as for trainings)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    from biomedjourney_monai.evaluation.page.report import write_report
    from biomedjourney_monai.evaluation.page.sheet import write_sheet

    with settings_as_options():
        if arguments.picture is not None:
            write_sheet(arguments.work, arguments.picture, **pick(arguments, "picture_journeys seed"))
            print(f"wrote {arguments.picture}")
        names = "out panels seed judge_weights truth ablation tracking_uri"
        report = write_report(arguments.work, ladders=arguments.ladder, **pick(arguments, names))
    print(f"{report.shown} journeys shown, {report.left_out} left out for want of a readable picture")
    if report.no_judges:
        print(f"no contours and no heat maps: {report.no_judges}")
    print(f"wrote {report.page}, and {report.numbers} numbers to {report.table}")
    if report.run:
        print(f"MLflow: run {report.run} in {report.tracking_uri}")
    return 0
