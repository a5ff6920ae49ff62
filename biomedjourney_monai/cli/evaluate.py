"""Score counterfactuals, and beside them the copied prior and the real next image, by frozen judges.

Writes metrics.json, every number with a 95 % interval from a bootstrap over patients, and scores.parquet with what the
judges said of each image. Without samples/ only the two baselines are scored.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLE = "biomedjourney evaluate --work work --bootstrap 2000"

COLUMNS = {
    "pathology_auroc": "pathology",
    "changed_auroc": "changed",
    "race_auroc": "race",
    "age_r": "age r",
    "cmig": "CMIG",
    "kl": "KL",
    "dice_reference": "Dice",
    "dice_prior": "Dice prior",
}


def configure(parser: argparse.ArgumentParser) -> None:
    from biomedjourney_monai.schema import SPLITS

    choices = ("mask", "positive", "negative")
    parser.add_argument("--work", type=Path, default=Path("work"), help="working folder (default: work)")
    parser.add_argument(
        "--judges",
        choices=("phantom", "xrv"),
        default="phantom",
        help="phantom for rendered radiographs, xrv for clinical ones: torchxrayvision's networks (default: phantom)",
    )
    parser.add_argument(
        "--judge-weights",
        "--models",
        dest="models",
        metavar="DIR",
        type=Path,
        help="folder of the judges' weights (default: models/ of the bundle; with xrv there is none)",
    )
    parser.add_argument(
        "--xrv-classifier",
        choices=("chex", "nih", "pc", "all"),
        default="chex",
        help="with --judges xrv: the data that the DenseNet-121 was trained on (default: chex)",
    )
    parser.add_argument("--split", choices=SPLITS, default="test", help="which journeys (default: test)")
    parser.add_argument("--bootstrap", type=int, default=1000, help="replicates behind each interval (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default: 0)")
    parser.add_argument("--limit", type=int, default=0, help="score at most so many journeys (default: all)")
    parser.add_argument("--uncertain", choices=choices, default="mask", help="what uncertain labels count as")
    parser.add_argument("--unmentioned", choices=choices, default="negative", help="what unmentioned findings count as")
    parser.add_argument(
        "--images",
        metavar="NAME=DIR",
        action="append",
        default=[],
        help="score another system too: a folder of images named by journey, such as j000012.png",
    )


def run(args: argparse.Namespace) -> int:
    from biomedjourney_monai.configuration import locate_root
    from biomedjourney_monai.errors import ConfigError
    from biomedjourney_monai.evaluation.evaluate import SCORES_FILE, EvaluationSettings, evaluate
    from biomedjourney_monai.evaluation.judges import choose_judges
    from biomedjourney_monai.files import write_json, write_table
    from biomedjourney_monai.schema import METRICS_FILE

    for name in ("bootstrap", "limit", "seed"):
        if getattr(args, name) < 0:
            raise ConfigError(f"--{name} must be >= 0", found=str(getattr(args, name)))
    settings = EvaluationSettings(
        split=args.split,
        bootstrap=args.bootstrap,
        seed=args.seed,
        uncertain=args.uncertain,
        unmentioned=args.unmentioned,
        limit=args.limit,
    )
    others = [_other_system(text) for text in args.images]
    if args.judges == "xrv" and args.models is None:
        raise ConfigError("--judges xrv needs a folder of weights", found="none", action="Pass --judge-weights DIR")
    folder = args.models or Path(locate_root()) / "models"
    judges = choose_judges(args.judges, folder, trained_on=args.xrv_classifier)
    content, scores = evaluate(args.work, judges, settings=settings, others=others)
    write_table(args.work / SCORES_FILE, scores)
    write_json(args.work / METRICS_FILE, content)
    print(format_table(content))
    _print_counts(content)
    print(f"wrote {args.work / METRICS_FILE} and {args.work / SCORES_FILE}")
    return 0


def format_table(content: dict[str, Any]) -> str:
    """Lay the overall numbers of metrics.json out as text."""
    lines = [f"{'':16}" + "".join(f"{title:>18}" for title in COLUMNS.values())]
    for system in content["systems"]:
        numbers = [system["metrics"][metric]["overall"] for metric in COLUMNS]
        lines.append(f"{system['name']:16}" + "".join(f"{_cell(number):>18}" for number in numbers))
    return "\n".join(lines)


def _cell(number: dict[str, Any]) -> str:
    def short(value: float | None) -> str:
        return "-" if value is None or value != value else f"{value:.3f}".replace("0.", ".", 1)

    interval = "" if short(number["low"]) == "-" else f" {short(number['low'])}-{short(number['high'])}"
    return short(number["value"]) + interval


def _other_system(text: str):
    from biomedjourney_monai.errors import ConfigError
    from biomedjourney_monai.evaluation.systems import FolderOfImages

    name, _, folder = text.partition("=")
    if not name or not Path(folder).is_dir() or not folder:
        raise ConfigError("--images must be NAME=DIR with an existing folder", found=text)
    if name in ("copy-prior", "counterfactual", "real reference"):
        raise ConfigError("--images must give a name of its own", found=name)
    return FolderOfImages(name, Path(folder))


def _print_counts(content: dict[str, Any]) -> None:
    counts = content["counts"]
    dropped = ", ".join(f"{count} {reason}" for reason, count in counts["dropped"].items()) or "none"
    print(f"{counts['scored']} journeys of {counts['patients']} patients scored; dropped: {dropped}")
    for system in content["systems"]:
        for reason, count in system["failures"].items():
            print(f"{system['name']}: {count} images not scored: {reason}")
    if len(content["systems"]) == 2:
        print("no samples/ in the working folder: only the baselines were scored; `biomedjourney sample` makes some")
