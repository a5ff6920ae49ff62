"""Arguments that several verbs share, and their conversion to `ModelConfig` and `SamplingSettings`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.cli.fast_import import import_monai_quickly
from biomedjourney_monai.diffusion.settings import INIT_NOISE, SOLVERS, SamplingSettings, check_seed
from biomedjourney_monai.errors import BiomedJourneyError, SettingError

if TYPE_CHECKING:
    from biomedjourney_monai.generation.model import CounterfactualModel
    from biomedjourney_monai.model_config import ModelConfig
    from biomedjourney_monai.radiographs.write.deidentify import Pseudonyms

DETAILS = ("transfer", "none")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def add_works_argument(parser: argparse._ActionsContainer) -> None:
    """Add one working folder or several."""
    parser.add_argument(
        "--work", action="append", metavar="DIR", help="working folder; repeat it for a mixture (default: work)"
    )


def add_model_arguments(parser: argparse._ActionsContainer) -> None:
    """Add bundle, weights, overlay and text encoder."""
    parser.add_argument("--bundle", metavar="DIR", help="the bundle's folder (default: the installed one)")
    parser.add_argument(
        "--model",
        metavar="FILE",
        help="model file; student.pt is the bundle's student of few steps (default: models/model.pt of the bundle)",
    )
    add_overlay_argument(parser)


def add_overlay_argument(parser: argparse._ActionsContainer) -> None:
    """Add overlay and text encoder."""
    parser.add_argument(
        "--overlay", metavar="FILE", help="config laid over common.yaml, e.g. configs/sd15.yaml of the bundle"
    )
    add_text_encoder_argument(parser)


def add_text_encoder_argument(parser: argparse._ActionsContainer) -> None:
    """Add the text encoder's folder."""
    parser.add_argument("--text-encoder", metavar="DIR", help="its folder (default: text_encoder_dir of the config)")


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Add bundle, overlay and text width, for importing and exporting weights."""
    parser.add_argument("--bundle", metavar="DIR", help="the bundle's folder (default: the installed one)")
    parser.add_argument(
        "--overlay", metavar="FILE", help="config of the model's sizes, laid over common.yaml (default: sd15.yaml)"
    )
    parser.add_argument(
        "--text-width",
        type=int,
        metavar="N",
        help="features of the text encoder's token states, if its folder is not available (BiomedCLIP and CLIP: 768)",
    )


def pick(arguments: argparse.Namespace, names: str) -> dict[str, Any]:
    """The arguments of these names, which blanks divide."""
    return {name: getattr(arguments, name) for name in names.split()}


def model_config(arguments: argparse.Namespace) -> ModelConfig:
    """The files of the model that the arguments name; arguments that a verb lacks keep their defaults.

    Raises:
        ConfigError: if the folder is not a bundle.
    """
    from biomedjourney_monai.model_config import ModelConfig

    names = {"bundle": "bundle", "weights": "model", "overlay": "overlay", "text_encoder": "text_encoder"}
    return ModelConfig.find(**{name: getattr(arguments, option, None) for name, option in names.items()})


def add_sampling_arguments(
    parser: argparse.ArgumentParser, *, scales: bool = True, several_thresholds: bool = False
) -> None:
    """Add the settings of the sampler; defaults are the configuration's.

    Args:
        parser: of the verb.
        scales: whether to add the two guidance scales.
        several_thresholds: whether `--keep-unchanged` takes several values and gives a list.
    """
    sampler = parser.add_argument_group("sampling (defaults: the sampler section of common.yaml)")
    if scales:
        sampler.add_argument("--text-guidance-scale", type=float, metavar="S", help="pull toward the description")
        sampler.add_argument("--image-guidance-scale", type=float, metavar="S", help="pull toward the prior image")
    sampler.add_argument("--steps", type=int, metavar="N", help="denoising steps")
    sampler.add_argument("--solver", choices=SOLVERS, help="solver of a step")
    sampler.add_argument(
        "--guidance-interval",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="guide only between these noise levels, 0 for clean and 1 for noise; other steps cost a third",
    )
    sampler.add_argument(
        "--keep-unchanged",
        type=float,
        nargs="+" if several_thresholds else None,
        metavar="GREY",
        help="keep the prior's pixels where less than this grey value changed, in [0, 1]; 0 keeps none"
        + ("; several values are combined with the scales" if several_thresholds else ""),
    )
    sampler.add_argument("--average", type=int, metavar="N", help="average the counterfactuals of N noises")
    sampler.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    sampler.add_argument(
        "--precision", choices=PRECISIONS, help="of the denoiser; auto takes what this machine computes fastest"
    )
    add_model_arguments(parser)


def add_control_arguments(parser: argparse.ArgumentParser) -> None:
    """Add region, strength, initial noise, verbatim and force."""
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
        help="start from the seed's noise, or from noise found by inverting the prior (default: random)",
    )
    add_detail_argument(controls)
    controls.add_argument(
        "--verbatim",
        action="store_true",
        help="give the text encoder the description as it is, not in the words of its training descriptions",
    )
    controls.add_argument(
        "--force", action="store_true", help="overrule refusals of prior or description; the metadata record it"
    )


def add_detail_argument(parser: argparse._ActionsContainer) -> None:
    """Add how pictures get the prior's size."""
    parser.add_argument(
        "--detail",
        choices=DETAILS,
        default=DETAILS[0],
        help="transfer: add the change to the prior's own pixels (default); none: enlarge the model's picture",
    )


def sampling_settings(arguments: argparse.Namespace, **changes: object) -> SamplingSettings:
    """The settings that the arguments name; also checks the seed. `changes` override the arguments.

    Raises:
        BiomedJourneyError: naming the option.
    """
    with settings_as_options():
        check_seed(arguments.seed)
        return SamplingSettings.from_mapping({**vars(arguments), **changes})


@contextmanager
def settings_as_options() -> Iterator[None]:
    """Name a wrong setting as the command line's option."""
    try:
        yield
    except SettingError as error:
        raise error.as_option() from None


def counterfactual_model(arguments: argparse.Namespace, **changes: object) -> CounterfactualModel:
    """The model that the arguments name, with their settings; see `sampling_settings`."""
    settings = sampling_settings(arguments, **changes)
    import_monai_quickly(arguments)
    from biomedjourney_monai.evaluation.judges.drawn import JudgeReview
    from biomedjourney_monai.generation.model import CounterfactualModel

    force = bool(getattr(arguments, "force", False))
    verbatim = True if getattr(arguments, "verbatim", False) else None  # None: as the configuration says
    config = model_config(arguments)
    chosen: dict[str, Any] = {"detail": arguments.detail} if hasattr(arguments, "detail") else {}
    chosen |= {"precision": arguments.precision, "force": force, "verbatim": verbatim}
    return CounterfactualModel(config, settings, **chosen, reviewer=JudgeReview(config.models))


def warn(text: str) -> None:
    """Print a warning to standard error."""
    print(f"warning: {text}", file=sys.stderr)


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """Add de-identification of the written DICOM."""
    export = parser.add_argument_group("DICOM for export")
    export.add_argument(
        "--export",
        action="store_true",
        help="de-identify the written DICOM: new patient and UIDs, the same for the same key, and no dates",
    )
    export.add_argument(
        "--export-key",
        metavar="FILE",
        help="secret key, created if it is missing (default: ~/.config/biomedjourney_monai/export.key)",
    )


def read_pseudonyms(arguments: argparse.Namespace) -> Pseudonyms | None:
    """Pseudonyms for `--export`, None without it."""
    if not getattr(arguments, "export", False):
        return None
    from biomedjourney_monai.radiographs.write.deidentify import default_key_file, read_or_make_key

    path = Path(arguments.export_key) if arguments.export_key else default_key_file()
    pseudonyms, made = read_or_make_key(path)
    if made:
        print("made a new export key. Keep it, and keep it secret: another key gives other patients and UIDs")
    return pseudonyms


def require_at_least_one(arguments: argparse.Namespace, *names: str) -> None:
    """Refuse counts below 1; None means not given.

    Raises:
        BiomedJourneyError: naming the option.
    """
    for name in names:
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise BiomedJourneyError(f"--{name.replace('_', '-')} must be >= 1", found=str(value))
