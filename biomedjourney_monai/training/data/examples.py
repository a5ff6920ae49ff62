"""Open the training examples of a stage, from latent caches or from the images themselves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.training.data.folders import Folders, as_folders
from biomedjourney_monai.training.data.latents import LatentDataset
from biomedjourney_monai.training.data.live_images import Encoders, ImageDataset
from biomedjourney_monai.training.data.mixture import MixedExamples, mix, read_encoding
from biomedjourney_monai.training.data.order import Batches, MixedBatches, ShuffledBatches
from biomedjourney_monai.training.data.stage_examples import NoExamplesError

Examples = LatentDataset | ImageDataset | MixedExamples


def open_examples(
    folder: Folders,
    *,
    stage: str,
    encoders: Encoders | None = None,
    weights: Sequence[float] | None = None,
    changed_share: float | None = None,
    identity_share: float = 0.0,
    **more: Any,
) -> Examples:
    """Open the examples that `biomedjourney encode` wrote.

    Args:
        folder: the latent cache; several are mixed.
        stage: "pretrain" or "finetune".
        encoders: encode images during training; None if they were encoded in advance.
        weights: share of each folder in the draws; None for the shares of their examples.
        changed_share, identity_share: see `MixedExamples`; for finetune alone.
        **more: of `StageExamples`.

    Raises:
        ConfigError: if mirrored variants are wanted and there are none, or the reverse; if examples that are encoded
            during training are to be mixed.
    """
    folders = as_folders(folder)
    if stage != "finetune":
        changed_share, identity_share = None, 0.0
    if len(folders) == 1 and changed_share is None and not identity_share:
        return _open(folders[0], stage=stage, encoders=encoders, **more)
    if encoders is not None:
        raise ConfigError(
            "a mixture, --changed_share and --identity_share need latent caches",
            found="folders encoded with --no-cache",
            action="Run `biomedjourney encode` without --no-cache",
        )

    def open_part(cache: Path) -> LatentDataset | None:
        try:
            part = _open(cache, stage=stage, **more)
        except NoExamplesError:
            return None
        assert isinstance(part, LatentDataset)
        return part

    return mix(folders, open_part, weights=weights, changed_share=changed_share, identity_share=identity_share)


def _open(
    folder: Path, *, encoders: Encoders | None = None, reproduce_paper_flip: bool = False, **more: Any
) -> LatentDataset | ImageDataset:
    more["reproduce_paper_flip"] = reproduce_paper_flip
    dataset = LatentDataset(folder, **more) if encoders is None else ImageDataset(folder, encoders=encoders, **more)
    if reproduce_paper_flip and not dataset.mirrored:
        raise ConfigError(
            "--reproduce_paper_flip needs mirrored variants of the images",
            found="a latent cache without mirrored variants",
            action="Run `biomedjourney encode --reproduce-paper-flip` first",
        )
    return dataset


def order_of(dataset: Examples, *, seed: int, **sizes: int) -> Batches:
    """The order in which training sees the examples.

    Args:
        dataset: from `open_examples`.
        seed: of the order.
        **sizes: `batch_size`, `process` and `processes` of `Batches`.
    """
    if isinstance(dataset, MixedExamples):
        return MixedBatches(dataset.strata, items=len(dataset), seed=seed, **sizes)
    return ShuffledBatches(len(dataset), variants=dataset.variants, seed=seed, **sizes)


def sample_pairs(
    folder: Folders, *, count: int, encoders: Encoders | None = None, weights: Sequence[float] | None = None
) -> tuple[Tensor, Tensor]:
    """Unscaled latents of at most `count` training triples, evenly spread among all of them.

    Args:
        folder: the latent cache; several share `count` by their weights.
        count: how many, at most.
        encoders, weights: as of `open_examples`.

    Returns:
        Latents of the prior and the new images, shape (N, C, h, w) each.

    Raises:
        TableError: if there are no triples.
    """
    encoding = read_encoding(folder, weights=weights)
    mirrored = encoding.get("mirrored", encoding.get("augmentation", {}).get("reproduce_paper_flip", False))
    triples = open_examples(
        folder,
        encoders=encoders,
        stage="finetune",
        split="train",
        weights=weights,
        reproduce_paper_flip=bool(mirrored),
    )
    items = []
    parts, shares = (triples.parts, triples.weights) if isinstance(triples, MixedExamples) else ([triples], [1.0])
    for part, share in zip(parts, shares):
        items += [part[index] for index in range(0, len(part), -(-len(part) // max(1, int(share * count))))]
    prior, new = (torch.stack([item[name].float().cpu() for item in items]) for name in ("prior_latent", "new_mean"))
    return prior, new
