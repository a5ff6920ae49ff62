"""Load the generator of a bundle folder, for the verbs that need it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.configuration import compose, locate_root, read_overlay
from biomedjourney_monai.errors import ConfigError, ImageError

if TYPE_CHECKING:
    import numpy as np


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which bundle, which weights."""
    parser.add_argument("--bundle", metavar="DIR", help="the bundle's folder (default: found from here)")
    parser.add_argument("--model", metavar="FILE", help="model file (default: models/model.pt of the bundle)")
    add_overlay_argument(parser)


def add_overlay_argument(parser: argparse.ArgumentParser) -> None:
    """Which geometry, and which text encoder."""
    parser.add_argument(
        "--overlay", metavar="FILE", help="config laid over common.yaml, e.g. configs/sd15.yaml of the bundle"
    )
    add_text_encoder_argument(parser)


def add_text_encoder_argument(parser: argparse.ArgumentParser) -> None:
    """Which text encoder."""
    parser.add_argument("--text-encoder", metavar="DIR", help="its folder (default: text_encoder_dir of the config)")


def bundle_folder(arguments: argparse.Namespace) -> Path:
    """The bundle's folder.

    Raises:
        ConfigError: if it is none.
    """
    root = Path(arguments.bundle) if arguments.bundle else Path(locate_root())
    if not (root / "configs" / "common.yaml").is_file():
        raise ConfigError(
            f"{root} must be a bundle folder", found="no configs/common.yaml in it", action="Pass --bundle DIR"
        )
    return root


def model_file(arguments: argparse.Namespace) -> Path:
    """The model file."""
    return Path(arguments.model) if arguments.model else bundle_folder(arguments) / "models" / "model.pt"


def image_size(arguments: argparse.Namespace) -> int:
    """Side of the square images that the bundle's model takes, in pixels."""
    return int(compose_networks(arguments).get("image_size"))


def compose_networks(arguments: argparse.Namespace, **sections: Any) -> Any:
    """MONAI's parser of `common.yaml` under the overlay, if there is one, and under the given sections."""
    root = bundle_folder(arguments)
    common = root / "configs" / "common.yaml"
    changes = read_overlay(arguments.overlay, common) if getattr(arguments, "overlay", None) else {}
    if getattr(arguments, "text_encoder", None):
        changes["text_encoder_dir"] = str(arguments.text_encoder)
    for name, section in sections.items():
        changes[name] = {**changes.get(name, {}), **section}
    return compose(common, {**changes, "bundle_root": str(root)})


def read_square_images(work: Path, files: Sequence[str], *, size: int) -> np.ndarray:
    """Read pictures of the working folder: float32 in [0, 1], shape (B, size, size).

    Raises:
        ImageError: if one cannot be read or has another size than the bundle's model.
    """
    import numpy as np

    from biomedjourney_monai.radiographs import read_png

    images = [read_png(work / file) for file in files]
    for image in images:
        if image.shape != (size, size):
            raise ImageError(
                f"prepared images must be {size}×{size}, as the bundle's model is",
                found=f"{image.shape[0]}×{image.shape[1]}",
                action=f"Run `biomedjourney register --size {size}` again",
            )
    return np.stack(images)


def load_generator(arguments: argparse.Namespace, **sampler: Any) -> Any:
    """Build the generator of `common.yaml` and load its weights.

    Args:
        sampler: overrides of the sampler section; None leaves the config's value.

    Raises:
        WeightsError: if the weights are missing or do not fit.
    """
    import torch

    changes = {key: value for key, value in sampler.items() if value is not None}
    parser = compose_networks(arguments, sampler=changes)
    for part in ("text_encoder", "noise_scheduler"):
        parser.get_parsed_content(part)
    with torch.device("meta"):  # what follows brings the weights
        for part in ("autoencoder", "denoiser"):
            parser.get_parsed_content(part)
    generator = parser.get_parsed_content("generator")
    generator.load(model_file(arguments))
    precision = getattr(arguments, "precision", None) or parser.get("denoiser_precision")
    autoencoder_precision = parser.get("autoencoder_precision")
    compiled = bool(parser.get("compiled"))
    return generator.eval().speed_up(precision, autoencoder_precision=autoencoder_precision, compiled=compiled)
