"""Write one HTML page of tables, intervals and pictures from an evaluated working folder.

The page holds everything it needs: it can be mailed, and opens without a network. The numbers, the settings and the
page also become a run of MLflow.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = (
    "biomedjourney report --work work\n"
    "  biomedjourney report --work work --truth cohort/truth --study study --ladder ladder\n"
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
    parser.add_argument("--study", type=Path, metavar="DIR", help="folder of `study`, for the paper's Tables 2 and 5")
    parser.add_argument(
        "--ladder", type=Path, metavar="DIR", action="append", default=[], help="folder of `ladder`, to show its strip"
    )
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow's store, or none (default: WORK/runs/mlruns.db, as of trainings)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from biomedjourney_monai.configuration import locate_root
    from biomedjourney_monai.errors import ConfigError
    from biomedjourney_monai.evaluation.page.metrics_csv import CSV_FILE, write_metrics_csv
    from biomedjourney_monai.evaluation.page.report import PAGE_FILE, ReportOptions, read_metrics, write_report
    from biomedjourney_monai.evaluation.page.sheet import SUFFIXES, draw_sheet, save_sheet
    from biomedjourney_monai.schema import METRICS_FILE, REPORT_FOLDER

    if args.panels < 0 or args.seed < 0:
        raise ConfigError("--panels and --seed must be >= 0", found=f"{args.panels} and {args.seed}")
    if args.picture_journeys < 1:
        raise ConfigError("--picture-journeys must be >= 1", found=str(args.picture_journeys))
    if args.picture is not None and args.picture.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--picture must end in {', '.join(SUFFIXES)}", found=args.picture.suffix or "no suffix")
    out = args.out or args.work / REPORT_FOLDER
    options = ReportOptions(
        panels=args.panels,
        seed=args.seed,
        judge_weights=args.judge_weights or Path(locate_root()) / "models",
        truth=args.truth,
        study=args.study,
        ladders=tuple(args.ladder),
    )
    if args.picture is not None:
        save_sheet(args.picture, draw_sheet(args.work, count=args.picture_journeys, seed=args.seed))
        print(f"wrote {args.picture}")
    counts = write_report(args.work, out, options=options)
    metrics = read_metrics(args.work / METRICS_FILE)
    table = args.work / CSV_FILE
    numbers = write_metrics_csv(metrics, table)
    print(f"{counts['shown']} journeys shown, {counts['left out']} left out for want of a readable picture")
    if counts["no judges"]:
        print(f"no contours and no heat maps: {counts['no judges']}")
    print(f"wrote {out / PAGE_FILE}, and {numbers} numbers to {table}")
    _track(args, metrics, [args.work / METRICS_FILE, table, out / PAGE_FILE])
    return 0


def _track(args: argparse.Namespace, metrics: dict, files: list[Path]) -> None:
    from biomedjourney_monai.evaluation.page.tracking import default_uri, log_evaluation

    if args.tracking_uri == "none":
        return
    uri = args.tracking_uri or default_uri(args.work)
    print(f"MLflow: run {log_evaluation(metrics, files, uri=uri)} in {uri}")
