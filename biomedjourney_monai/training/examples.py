"""Where a stage's examples come from: the latent cache, or the images themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.training.latents import LatentDataset
from biomedjourney_monai.training.live_images import Encoders, ImageDataset


def open_examples(
    folder: str | Path, *, encoders: Encoders | None = None, reproduce_paper_flip: bool = False, **more: Any
) -> LatentDataset | ImageDataset:
    """Open what `biomedjourney encode` left.

    Args:
        folder: of the latents.
        encoders: what encodes images while training goes on; None where they were encoded beforehand.
        reproduce_paper_flip: whether every other variant shall be mirrored.
        **more: of both datasets.

    Raises:
        ConfigError: if mirrored variants are wanted and there are none, or the other way round.
    """
    more["reproduce_paper_flip"] = reproduce_paper_flip
    dataset = LatentDataset(folder, **more) if encoders is None else ImageDataset(folder, encoders=encoders, **more)
    if reproduce_paper_flip and not dataset.mirrored:
        raise ConfigError(
            "--reproduce_paper_flip needs mirrored variants of the images",
            found="none",
            action="Run `biomedjourney encode --reproduce-paper-flip` first",
        )
    return dataset
