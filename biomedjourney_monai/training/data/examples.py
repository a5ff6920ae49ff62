"""Open the training examples of a stage, from the latent cache or from the images themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.files import read_json
from biomedjourney_monai.training.data.latents import ENCODING_FILE, LatentDataset
from biomedjourney_monai.training.data.live_images import Encoders, ImageDataset


def open_examples(
    folder: str | Path, *, encoders: Encoders | None = None, reproduce_paper_flip: bool = False, **more: Any
) -> LatentDataset | ImageDataset:
    """Open the examples that `biomedjourney encode` wrote.

    Args:
        folder: the latent cache.
        encoders: encode images during training; None if they were encoded in advance.
        reproduce_paper_flip: whether mirrored variants are wanted.
        **more: of both datasets.

    Raises:
        ConfigError: if mirrored variants are wanted and there are none, or the reverse.
    """
    more["reproduce_paper_flip"] = reproduce_paper_flip
    dataset = LatentDataset(folder, **more) if encoders is None else ImageDataset(folder, encoders=encoders, **more)
    if reproduce_paper_flip and not dataset.mirrored:
        raise ConfigError(
            "--reproduce_paper_flip needs mirrored variants of the images",
            found="a latent cache without mirrored variants",
            action="Run `biomedjourney encode --reproduce-paper-flip` first",
        )
    return dataset


def sample_pairs(folder: str | Path, *, count: int, encoders: Encoders | None = None) -> tuple[Tensor, Tensor]:
    """Unscaled latents of at most `count` training triples, evenly spread among all of them.

    Args:
        folder: the latent cache.
        count: how many, at most.
        encoders: as of `open_examples`.

    Returns:
        Latents of the prior and the new images, shape (N, C, h, w) each.

    Raises:
        TableError: if there are no triples.
    """
    encoding = read_json(Path(folder) / ENCODING_FILE, made_by="encode")
    mirrored = encoding.get("mirrored", encoding.get("augmentation", {}).get("reproduce_paper_flip", False))
    triples = open_examples(
        folder, encoders=encoders, stage="finetune", split="train", reproduce_paper_flip=bool(mirrored)
    )
    items = [triples[index] for index in range(0, len(triples), -(-len(triples) // count))]
    prior, new = (torch.stack([item[name].float().cpu() for item in items]) for name in ("prior_latent", "new_mean"))
    return prior, new
