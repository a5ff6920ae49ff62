"""The settings of sampling that several verbs take, and their ranges."""

from __future__ import annotations

import argparse
import math

from biomedjourney_monai.cli.bundle_model import add_model_arguments
from biomedjourney_monai.errors import BiomedJourneyError

SOLVERS = ("ddim", "dpm++", "unipc")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
INIT_NOISE = ("random", "from-prior")


def add_sampling_arguments(
    parser: argparse.ArgumentParser, *, scales: bool = True, several_thresholds: bool = False
) -> None:
    """How to sample; what is not given is the configuration's.

    Args:
        scales: whether to add the two guidance scales.
        several_thresholds: whether `--keep-unchanged` takes several values and gives a list.
    """
    sampler = parser.add_argument_group("sampling (defaults: the sampler section of common.yaml)")
    if scales:
        sampler.add_argument("--text-guidance-scale", type=float, metavar="S", help="pull toward the description")
        sampler.add_argument("--image-guidance-scale", type=float, metavar="S", help="pull toward the prior image")
    sampler.add_argument("--steps", type=int, metavar="N", help="denoising steps")
    sampler.add_argument("--solver", choices=SOLVERS, help="how a step is made")
    sampler.add_argument(
        "--guidance-interval",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="guide only between these noise levels, 0 for clean and 1 for noise; a step outside costs a third",
    )
    sampler.add_argument(
        "--keep-unchanged",
        type=float,
        nargs="+" if several_thresholds else None,
        metavar="GREY",
        help="put the prior's pixels back where less than this grey value changed, in [0, 1]; 0 for nowhere"
        + ("; several values are crossed with the scales" if several_thresholds else ""),
    )
    sampler.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    sampler.add_argument(
        "--precision", choices=PRECISIONS, help="of the denoiser; auto takes what this machine is fast at"
    )
    add_model_arguments(parser)


def add_control_arguments(parser: argparse.ArgumentParser) -> None:
    """What may change, and how much."""
    controls = parser.add_argument_group("controls")
    controls.add_argument(
        "--region", metavar="MASK|auto", help="confine the change to a mask, or to where the description acts"
    )
    controls.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="S",
        help="share of the noise to start from, in (0, 1]; less keeps more of the prior (default: 1)",
    )
    controls.add_argument(
        "--init-noise",
        choices=INIT_NOISE,
        default="random",
        help="start from the seed's noise, or from the prior's own by inversion (default: random)",
    )
    controls.add_argument(
        "--force", action="store_true", help="overrule refusals of prior or description; the metadata say so"
    )


def check_sampling_arguments(arguments: argparse.Namespace) -> None:
    """Refuse settings that no sampler can use.

    Raises:
        BiomedJourneyError: naming the argument.
    """
    steps = arguments.steps
    if steps is not None and not 1 <= steps <= 1000:
        raise BiomedJourneyError("--steps must be in [1, 1000]", found=str(steps))
    for name in ("text_guidance_scale", "image_guidance_scale"):
        scale = getattr(arguments, name, None)
        if scale is not None and not math.isfinite(scale):
            raise BiomedJourneyError(f"--{name.replace('_', '-')} must be a finite number", found=str(scale))
    interval = getattr(arguments, "guidance_interval", None)
    if interval is not None and not 0 <= interval[0] < interval[1] <= 1:
        raise BiomedJourneyError(
            "--guidance-interval must be two rising numbers in [0, 1]", found=f"{interval[0]:g} {interval[1]:g}"
        )
    keep = getattr(arguments, "keep_unchanged", None)
    for threshold in keep if isinstance(keep, list) else [keep]:
        if threshold is not None and not 0 <= threshold <= 1:
            raise BiomedJourneyError("--keep-unchanged must be in [0, 1]", found=f"{threshold:g}")
    if not 0 <= arguments.seed < 2**63:
        raise BiomedJourneyError("--seed must be a non-negative 64-bit integer", found=str(arguments.seed))
    strength = getattr(arguments, "strength", 1.0)
    if not 0 < strength <= 1:
        raise BiomedJourneyError("--strength must be in (0, 1]", found=str(strength))


def require_at_least_one(arguments: argparse.Namespace, *names: str) -> None:
    """Refuse counts below 1; None is "not given"."""
    for name in names:
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise BiomedJourneyError(f"--{name.replace('_', '-')} must be >= 1", found=str(value))
