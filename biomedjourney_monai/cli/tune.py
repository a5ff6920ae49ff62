"""Search guidance scales and `keep_unchanged` on validation journeys: accuracy against retention, and the best CMIG.

Samples the journeys at every pair of the two scales, applies each threshold, and scores as `evaluate` does. Writes
tune/tune.json, tune/tune.md and tune/tune.png. Points that an earlier run has scored with the same model, journeys and
settings are not sampled again.
"""

import argparse
from typing import Any

from biomedjourney_monai.cli.arguments import add_sampling_arguments, model_config, pick, settings_as_options
from biomedjourney_monai.schema import SPLITS

EXAMPLE = (
    "biomedjourney tune --work work --limit 100\n"
    "  biomedjourney tune --work work --text-guidance-scales 3 --image-guidance-scales 2 --keep-unchanged 0 0.05 0.1"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--work", required=True, metavar="DIR", help="working folder")
    parser.add_argument("--split", choices=SPLITS, default="validate", help="journeys (default: validate)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N journeys")
    parser.add_argument("--batch-size", type=int, default=16, help="images at once (default: 16)")
    parser.add_argument(
        "--text-guidance-scales", type=float, nargs="+", metavar="S", default=[1, 2, 3, 4], help="(default: 1 2 3 4)"
    )
    parser.add_argument(
        "--image-guidance-scales", type=float, nargs="+", metavar="S", default=[1, 1.5, 2], help="(default: 1 1.5 2)"
    )
    parser.add_argument(
        "--models",
        dest="judge_weights",
        metavar="DIR",
        help="folder of the judges (default: models/ of the bundle)",
    )
    parser.add_argument(
        "--truth",
        metavar="DIR",
        help="true counterfactuals of rendered patients, as for `evaluate`: PSNR to them inside and outside the changed"
        " region; `phantom --truth validate` writes them",
    )
    add_sampling_arguments(parser, scales=False, several_thresholds=True)


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    from biomedjourney_monai.evaluation.tuning.tune import format_points, tune

    names = "split limit batch_size text_guidance_scales image_guidance_scales keep_unchanged judge_weights truth steps"
    names += " solver guidance_interval average seed precision"
    with settings_as_options():
        tuning = tune(arguments.work, model=model_config(arguments), **pick(arguments, names))
    content = tuning.content
    _print_missing_truths(content["settings"])
    print("\n".join(format_points(content["points"], frontier=content["frontier"], best=content["best"])))
    print(f"wrote {tuning.file}, and tune.md and tune.png beside it")


def _print_missing_truths(settings: dict[str, Any]) -> None:
    journeys = settings["journeys"]
    missing = 0 if settings["truth"] is None else journeys - settings["truth"]["journeys"]
    if missing:
        print(
            f"{missing} of {journeys} journeys have no true counterfactual and are left out of inside and outside;"
            f" `phantom --truth {settings['split']}` writes them"
        )
