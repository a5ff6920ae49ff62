"""Score counterfactuals, and beside them the copied prior and the real next image, by frozen judges.

Writes metrics.json, every number with a 95 % interval from a bootstrap over patients, and scores.parquet with what the
judges said of each image. Without samples/ only the two baselines are scored.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from biomedjourney_monai.cli.bundle_model import add_model_arguments
from biomedjourney_monai.cli.sampling_arguments import PRECISIONS, require_at_least_one

EXAMPLE = (
    "biomedjourney evaluate --work work --bootstrap 2000\n"
    "  biomedjourney evaluate --work work --truth cohort/truth --images rival=rival_images"
)

OWN_SYSTEMS = ("copy-prior", "counterfactual", "real reference", "true counterfactual")

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

FURTHER_COLUMNS = {
    "side_correct": "right side",
    "effectiveness": "effective",
    "others_moved": "others moved",
    "severity_concordance": "severity by judge",
    "severity_change": "severity, change",
    "change_outside": "change elsewhere",
    "identity": "own prior nearest",
    "kid": "KID",
    "memorised": "memorised",
    "truth_psnr": "PSNR to truth",
    "truth_ssim": "SSIM to truth",
    "truth_agreement": "agrees with truth",
    "truth_dice": "Dice to truth",
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
        help="score another system too: a folder of images named by journey, such as j000012.png, or one that `sample"
        " --system` wrote; may be repeated",
    )
    parser.add_argument(
        "--truth",
        type=Path,
        metavar="DIR",
        help="true counterfactuals of rendered patients, as `phantom --truth` writes them to truth/ of the cohort:"
        " error against them, overall, inside and outside the changed region",
    )
    parser.add_argument(
        "--training-targets",
        type=int,
        nargs="?",
        const=2000,
        default=0,
        metavar="N",
        help="look for copies among N images of training journeys, drawn at random (default: none; without N: 2000)",
    )
    probes = parser.add_argument_group("probes: further sampling with the model")
    probes.add_argument(
        "--probes", type=int, default=0, metavar="N", help="probe the first N journeys, 10 samples each (default: none)"
    )
    probes.add_argument("--probe-batch", type=int, default=16, metavar="N", help="journeys at once (default: 16)")
    probes.add_argument("--steps", type=int, metavar="N", help="denoising steps (default: the configuration's)")
    probes.add_argument("--precision", choices=PRECISIONS, help="of the denoiser (default: the configuration's)")
    add_model_arguments(probes)


def run(args: argparse.Namespace) -> int:
    from biomedjourney_monai.configuration import locate_root
    from biomedjourney_monai.errors import ConfigError
    from biomedjourney_monai.evaluation.evaluate import SCORES_FILE, EvaluationSettings, evaluate
    from biomedjourney_monai.evaluation.judges.loading import choose_judges
    from biomedjourney_monai.files import write_json, write_table
    from biomedjourney_monai.schema import METRICS_FILE

    for name in ("bootstrap", "limit", "seed", "training_targets", "probes"):
        if getattr(args, name) < 0:
            raise ConfigError(f"--{name.replace('_', '-')} must be >= 0", found=str(getattr(args, name)))
    settings = EvaluationSettings(
        split=args.split,
        bootstrap=args.bootstrap,
        seed=args.seed,
        uncertain=args.uncertain,
        unmentioned=args.unmentioned,
        limit=args.limit,
    )
    require_at_least_one(args, "probe_batch", "steps")
    if args.judges == "xrv" and args.models is None:
        raise ConfigError("--judges xrv needs a folder of weights", found="none", action="Pass --judge-weights DIR")
    folder = args.models or Path(locate_root()) / "models"
    judges = choose_judges(args.judges, folder, trained_on=args.xrv_classifier)
    size = _image_size(args.work)
    content, scores = evaluate(
        args.work,
        judges,
        settings=settings,
        others=_other_systems(args, size=size),
        material=_material(args, size, folder),
    )
    if args.probes:
        from biomedjourney_monai.cli.evaluation_probes import probe

        content["probes"] = probe(args, judges)
    write_table(args.work / SCORES_FILE, scores)
    write_json(args.work / METRICS_FILE, content)
    print(format_table(content))
    print(format_table(content, FURTHER_COLUMNS, under="further"))
    for metric, parts in content.get("probes", {}).get("metrics", {}).items():
        print(f"{metric}: {_cell(parts['overall'])}")
    _print_counts(content)
    print(f"wrote {args.work / METRICS_FILE} and {args.work / SCORES_FILE}")
    return 0


def format_table(content: dict[str, Any], columns: dict[str, str] = COLUMNS, *, under: str = "metrics") -> str:
    """Lay overall numbers of metrics.json out as text; a column that no system has a number for is left out."""
    known = [
        metric
        for metric in columns
        if under == "metrics" or any(_has_number(system[under][metric]) for system in content["systems"])
    ]
    if not known:
        return ""
    width = max(16, *(len(system["name"]) + 1 for system in content["systems"]))
    lines = [" " * width + "".join(f"{columns[metric]:>18}" for metric in known)]
    for system in content["systems"]:
        numbers = [system[under][metric]["overall"] for metric in known]
        lines.append(f"{system['name']:{width}}" + "".join(f"{_cell(number):>18}" for number in numbers))
    return "\n".join(lines)


def _has_number(parts: dict[str, Any]) -> bool:
    value = parts["overall"]["value"]
    return value is not None and value == value


def _cell(number: dict[str, Any]) -> str:
    def short(value: float | None) -> str:
        if value is None or value != value:
            return "-"
        return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}".replace("0.", ".", 1)

    interval = "" if short(number["low"]) == "-" else f" {short(number['low'])}-{short(number['high'])}"
    return short(number["value"]) + interval


def _image_size(work: Path) -> int:
    """Side of the working folder's prepared images, in pixels."""
    from biomedjourney_monai.errors import ImageError
    from biomedjourney_monai.evaluation.systems.sources import read_picture
    from biomedjourney_monai.files import read_table
    from biomedjourney_monai.schema import PAIRS_FILE

    for file in read_table(work / PAIRS_FILE, columns=["prior_image"], made_by="register")["prior_image"]:
        try:
            return read_picture(work, file).shape[0]
        except ImageError:
            continue
    return 128


def _other_systems(args: argparse.Namespace, *, size: int) -> list[Any]:
    from biomedjourney_monai.errors import ConfigError
    from biomedjourney_monai.evaluation.systems.sources import read_baselines, read_system

    systems = read_baselines(args.work, size=size)
    for text in args.images:
        name, _, folder = text.partition("=")
        if not name or not folder or not Path(folder).is_dir():
            raise ConfigError("--images must be NAME=DIR with an existing folder", found=text)
        systems.append(read_system(name, folder, size=size))
    names = [system.name for system in systems]
    taken = [name for name in names if name in OWN_SYSTEMS or names.count(name) > 1]
    if taken:
        raise ConfigError("each system must have a name of its own", found=taken[0])
    return systems


def _material(args: argparse.Namespace, size: int, weights: Path) -> Any:
    from biomedjourney_monai.cli.evaluation_requests import read_requests
    from biomedjourney_monai.evaluation.evaluate import Material
    from biomedjourney_monai.evaluation.judges.imagenet_features import INCEPTION_FILE, InceptionFeatures
    from biomedjourney_monai.evaluation.systems.true_counterfactuals import TrueCounterfactuals

    truth = None
    if args.truth is not None:
        truth = TrueCounterfactuals(args.truth, size=size)
        truth.files  # noqa: B018  a missing table ends the run before the judges begin
    inception = weights / INCEPTION_FILE
    return Material(
        requests=read_requests(args.work),
        truth=truth,
        imagenet=InceptionFeatures(inception) if inception.is_file() else None,
        training_targets=args.training_targets,
    )


def _print_counts(content: dict[str, Any]) -> None:
    counts = content["counts"]
    dropped = ", ".join(f"{count} {reason}" for reason, count in counts["dropped"].items()) or "none"
    print(f"{counts['scored']} journeys of {counts['patients']} patients scored; dropped: {dropped}")
    for system in content["systems"]:
        for reason, count in system["failures"].items():
            print(f"{system['name']}: {count} images not scored: {reason}")
        if system["unmatched"]:
            print(f"{system['name']}: {system['unmatched']} images are named by no journey of the folder")
        if system["resized"]:
            print(f"{system['name']}: {system['resized']} images had another size and were resampled")
    if not any(system["name"] == "counterfactual" for system in content["systems"]):
        print("no samples/ in the working folder: only the baselines were scored; `biomedjourney sample` makes some")
