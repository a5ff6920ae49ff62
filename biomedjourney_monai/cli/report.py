"""Write one HTML page of tables, intervals and pictures from an evaluated working folder.

The page holds everything it needs: it can be mailed, and opens without a network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = "biomedjourney report --work work"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work", type=Path, default=Path("work"), help="working folder (default: work)")
    parser.add_argument("--out", type=Path, help="folder for index.html (default: WORK/report)")
    parser.add_argument("--panels", type=int, default=12, help="journeys to show (default: 12)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of the journeys to show (default: 0)")


def run(args: argparse.Namespace) -> int:
    from biomedjourney_monai.errors import ConfigError
    from biomedjourney_monai.evaluation.report import PAGE_FILE, write_report
    from biomedjourney_monai.schema import REPORT_FOLDER

    if args.panels < 0 or args.seed < 0:
        raise ConfigError("--panels and --seed must be >= 0", found=f"{args.panels} and {args.seed}")
    out = args.out or args.work / REPORT_FOLDER
    counts = write_report(args.work, out, panels=args.panels, seed=args.seed)
    print(f"{counts['shown']} journeys shown, {counts['left out']} left out for want of a readable picture")
    print(f"wrote {out / PAGE_FILE}")
    return 0
