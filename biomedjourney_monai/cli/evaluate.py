"""Score counterfactuals, the copied prior and the real next image with frozen judges.

Writes metrics.json, every number with a 95 % interval from a bootstrap over patients, and scores.parquet with the
judges' scores of each image. Without samples/ only the two baselines are scored.
"""

import argparse
from pathlib import Path
from typing import Any

from biomedjourney_monai.cli.arguments import PRECISIONS, add_model_arguments, model_config, pick, settings_as_options

EXAMPLE = (
    "biomedjourney evaluate --work work --bootstrap 2000\n"
    "  biomedjourney evaluate --work work --truth cohort/truth --images rival=rival_images"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    from biomedjourney_monai.schema import SPLITS

    choices = ("mask", "positive", "negative")
    parser.add_argument("--work", type=Path, default=Path("work"), help="working folder (default: work)")
    parser.add_argument(
        "--judges",
        metavar="NAME",
        default="auto",
        help="phantom for rendered radiographs, chestxray14 for real films, the name of judges that `train-judges"
        " --work` wrote, or xrv for torchxrayvision's networks (default: auto, those that fit the prior images)",
    )
    parser.add_argument(
        "--judge-weights",
        "--models",
        dest="judge_weights",
        metavar="DIR",
        type=Path,
        help="folder of the judges' weights (default: models/ of the bundle; required with xrv)",
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
    _add_probe_arguments(parser)


def _add_probe_arguments(parser: argparse.ArgumentParser) -> None:
    probes = parser.add_argument_group("probes: further sampling with the model")
    probes.add_argument(
        "--probes", type=int, default=0, metavar="N", help="probe the first N journeys, 12 samples each (default: none)"
    )
    probes.add_argument("--probe-batch", type=int, default=16, metavar="N", help="journeys at once (default: 16)")
    probes.add_argument("--steps", type=int, metavar="N", help="denoising steps (default: the configuration's)")
    probes.add_argument("--precision", choices=PRECISIONS, help="of the denoiser (default: the configuration's)")
    add_model_arguments(probes)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    from biomedjourney_monai.evaluation.evaluate import evaluate
    from biomedjourney_monai.evaluation.metrics.measure import FURTHER, PAPER

    names = "split bootstrap seed limit uncertain unmentioned judges judge_weights xrv_classifier truth"
    names += " training_targets probes probe_batch steps precision"
    with settings_as_options():
        evaluation = evaluate(
            arguments.work,
            images=_image_folders(arguments.images),
            model=model_config(arguments) if arguments.probes else None,
            **pick(arguments, names),
        )
    metrics = evaluation.metrics
    print(format_table(metrics, section=PAPER))
    print(format_table(metrics, section=FURTHER))
    for metric, parts in metrics.get("probes", {}).get("metrics", {}).items():
        print(f"{metric}: {_cell(parts['overall'])}")
    _print_judges(metrics)
    _print_counts(metrics)
    print(f"wrote {evaluation.metrics_file} and {evaluation.scores_file}")
    return 0


def _image_folders(texts: list[str]) -> dict[str, Path]:
    from biomedjourney_monai.errors import ConfigError

    folders: dict[str, Path] = {}
    for text in texts:
        name, _, folder = text.partition("=")
        if not name or not folder or not Path(folder).is_dir():
            raise ConfigError("--images must be NAME=DIR with an existing folder", found=text)
        if name in folders:
            raise ConfigError("each system must have its own name", found=name)
        folders[name] = Path(folder)
    return folders


def format_table(content: dict[str, Any], *, section: str) -> str:
    """A section's overall numbers of metrics.json as text; a further measure without any number is left out."""
    from biomedjourney_monai.evaluation.metrics.measure import PAPER
    from biomedjourney_monai.evaluation.metrics.registry import MEASURES

    measures = [
        measure
        for measure in MEASURES
        if measure.terminal and measure.section == section
        if section == PAPER or any(_has_number(system[section][measure.key]) for system in content["systems"])
    ]
    if not measures:
        return ""
    rows = [["", *(measure.terminal for measure in measures)]]
    for system in content["systems"]:
        rows.append([system["name"], *(_cell(system[section][measure.key]["overall"]) for measure in measures)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return "\n".join(lines)


def _has_number(parts: dict[str, Any]) -> bool:
    value = parts["overall"]["value"]
    return value is not None and value == value


def _cell(number: dict[str, Any]) -> str:
    """A number with three decimals and its interval, such as `0.712 [0.690, 0.731]`."""
    value, low, high = (number[name] for name in ("value", "low", "high"))
    if value is None or value != value:
        return "-"
    has_interval = low is not None and high is not None and low == low
    return f"{value:.3f}" + (f" [{low:.3f}, {high:.3f}]" if has_interval else "")


def _print_judges(content: dict[str, Any]) -> None:
    choice, name = content["judges_chosen"], content["judges"]["name"]
    where = f", distance {choice['distance']:.2f} of 1" if "distance" in choice else ""
    print(f"judges: {name}, chosen {choice['chosen']}{where}")
    if choice.get("inside") is False:
        print(f"warning: no judges were trained on pictures like these; {name} are the nearest, compare with care")


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
