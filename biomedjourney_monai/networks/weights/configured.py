"""The networks that a bundle configures, without their weights, for importing and exporting weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from monai.networks.nets import AutoencoderKL
from monai.networks.schedulers import Scheduler

from biomedjourney_monai.errors import BiomedJourneyError, ConfigError
from biomedjourney_monai.model_config import ModelConfig
from biomedjourney_monai.networks.denoiser import Denoiser

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

SD15 = "sd15.yaml"
"""The overlay whose sizes are used where none is given."""


@dataclass(frozen=True)
class ConfiguredNetworks:
    """Networks with random weights, and two numbers of their config."""

    denoiser: Denoiser
    autoencoder: AutoencoderKL
    noise_scheduler: Scheduler
    scale_factor: float
    image_size: int

    def parts(self) -> dict[str, torch.nn.Module]:
        """The networks by name, as a model file's geometry has them."""
        return {
            "autoencoder": self.autoencoder,
            "noise_scheduler": self.noise_scheduler,
            "denoiser": self.denoiser,
        }


def build_networks(model: ModelConfig | None, *, text_width: int | None, empty: bool) -> ConfiguredNetworks:
    """Build denoiser, autoencoder and noise scheduler.

    Args:
        model: names the bundle and the overlay; an overlay of None is sd15.yaml's.
        text_width: features of the text encoder's token states; None asks the text encoder, which must be there.
        empty: build the denoiser on torch's meta device, which takes no memory.

    Raises:
        ConfigError: if the configuration cannot be read, or there is no text encoder and no width.
    """
    model = model or ModelConfig.find()
    model = replace(model, overlay=model.overlay or model.bundle / "configs" / SD15)
    parser = model.compose(denoiser={"text_width": text_width or _text_width(model.compose())})
    autoencoder, scheduler = (parser.get_parsed_content(name) for name in ("autoencoder", "noise_scheduler"))
    with torch.device("meta" if empty else "cpu"):
        denoiser = parser.get_parsed_content("denoiser")
    scale_factor, image_size = float(parser.get("denoiser::scale_factor")), int(parser.get("image_size"))
    return ConfiguredNetworks(denoiser, autoencoder, scheduler, scale_factor, image_size)


def _text_width(parser: ConfigParser) -> int:
    try:
        return int(parser.get_parsed_content("text_encoder").width)
    except (BiomedJourneyError, RuntimeError) as error:  # MONAI wraps a constructor's error in a RuntimeError
        cause = error.__cause__ if isinstance(error, RuntimeError) else error
        if not isinstance(cause, BiomedJourneyError):
            raise ConfigError("the text encoder must be buildable", found=type(error).__name__) from error
        raise ConfigError(
            "the width of the token states must be known",
            found=f"no text encoder ({str(cause).split(';')[0].rstrip('.')})",
            action="Put the text encoder's folder in its place, or pass --text-width 768 (BiomedCLIP's and CLIP's)",
        ) from error
