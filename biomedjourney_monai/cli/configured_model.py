"""The networks that a bundle configures, without weights, for the verbs that bring weights in and out."""

from __future__ import annotations

import argparse
from typing import Any

from biomedjourney_monai.cli.bundle_model import bundle_folder, compose_networks

SD15 = "sd15.yaml"


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Which bundle, which overlay, which text."""
    parser.add_argument("--bundle", metavar="DIR", help="the bundle's folder (default: found from here)")
    parser.add_argument(
        "--overlay", metavar="FILE", help="config of the model's sizes, laid over common.yaml (default: sd15.yaml)"
    )
    parser.add_argument(
        "--text-width",
        type=int,
        metavar="N",
        help="features of the text encoder's token states, where its folder is not at hand (BiomedCLIP and CLIP: 768)",
    )


def build_networks(arguments: argparse.Namespace, *, empty: bool) -> dict[str, Any]:
    """Build denoiser, autoencoder and noise scheduler.

    Args:
        arguments: of `add_network_arguments`.
        empty: build the denoiser without memory for its weights, on torch's meta device.

    Returns:
        `denoiser`, `autoencoder`, `noise_scheduler` and the numbers `scale_factor` and `image_size`.

    Raises:
        ConfigError: if the configuration cannot be read, or a text width is needed and no text encoder is there.
    """
    import torch

    overlay = arguments.overlay or str(bundle_folder(arguments) / "configs" / SD15)
    arguments = argparse.Namespace(**{**vars(arguments), "overlay": overlay})
    width = arguments.text_width or _text_width(compose_networks(arguments))
    parser = compose_networks(arguments, denoiser={"text_width": width})
    parts = {name: parser.get_parsed_content(name) for name in ("autoencoder", "noise_scheduler")}
    with torch.device("meta" if empty else "cpu"):
        denoiser = parser.get_parsed_content("denoiser")
    numbers = {
        "scale_factor": float(parser.config["denoiser"]["scale_factor"]),
        "image_size": int(parser.get("image_size")),
    }
    return {**parts, "denoiser": denoiser, **numbers}


def _text_width(parser: Any) -> int:
    from biomedjourney_monai.errors import BiomedJourneyError, ConfigError

    try:
        return int(parser.get_parsed_content("text_encoder").width)
    except BiomedJourneyError as error:
        raise _no_text_encoder(error) from error
    except RuntimeError as error:  # MONAI wraps what a component's constructor raises
        if isinstance(error.__cause__, BiomedJourneyError):
            raise _no_text_encoder(error.__cause__) from error
        raise ConfigError("the text encoder must be buildable", found=type(error).__name__) from error


def _no_text_encoder(error: Exception) -> Exception:
    from biomedjourney_monai.errors import ConfigError

    return ConfigError(
        "the width of the token states must be known",
        found=f"no text encoder ({str(error).split(';')[0].rstrip('.')})",
        action="Put the text encoder's folder in its place, or pass --text-width 768 (BiomedCLIP's and CLIP's)",
    )
