"""Open the training examples of a stage: from latent caches, or encoded during training from the images themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import AutoencoderKL
from torch import Tensor
from torch.utils.data import get_worker_info

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.files import read_json, read_json_lines
from biomedjourney_monai.networks.text.encoder import TextEncoder
from biomedjourney_monai.radiographs.read.prepared import read_square_images
from biomedjourney_monai.schema import SINGLES_FILE, TRIPLES_FILE
from biomedjourney_monai.training.data.augmentation import (
    Augmentation,
    Jitter,
    apply_jitter,
    move_mask,
    swap_sides,
)
from biomedjourney_monai.training.data.folders import Folders, as_folders
from biomedjourney_monai.training.data.latents import (
    ENCODING_FILE,
    SINGLE_KEYS,
    TRIPLE_KEYS,
    LatentDataset,
    encode_images,
    valid_at_latent_resolution,
)
from biomedjourney_monai.training.data.mixture import MixedExamples, mix, read_encoding
from biomedjourney_monai.training.data.order import Batches, MixedBatches, ShuffledBatches
from biomedjourney_monai.training.data.stage_examples import NoExamplesError, StageExamples


@dataclass(frozen=True)
class Encoders:
    """The frozen networks that `biomedjourney encode` would use."""

    autoencoder: AutoencoderKL
    text_encoder: TextEncoder


@dataclass(frozen=True)
class ImageRow:
    """One training example by its files; `prior_image` is "" for the dummy prior."""

    place: int
    split: str
    new_image: str
    prior_image: str
    valid_mask: str
    text: str
    journey_id: str = ""


class ImageDataset(StageExamples):
    """The items of `LatentDataset`, encoded when they are read, a batch at a time.

    With an augmentation, each pass over the data draws new changes.

    Args:
        folder: latent cache of `biomedjourney encode --no-cache`, in the working folder of the tables and images.
        stage: "pretrain" or "finetune".
        encoders: the networks that encode.
        **choice: which of the stage's examples; see `StageExamples`.

    Raises:
        TableError, ConfigError: as `StageExamples`.
    """

    def __init__(self, folder: str | Path, *, stage: str, encoders: Encoders, **choice: Any) -> None:
        self.folder, self.encoders = Path(folder), encoders
        encoding = read_json(self.folder / ENCODING_FILE, made_by="encode")
        self.augmentation, self.size = Augmentation(**encoding["augmentation"]), int(encoding["image_size"])
        rows = {row.place: row for row in read_rows(self.folder.parent, stage=stage)}
        mirrored = self.augmentation.reproduce_paper_flip
        super().__init__(
            rows, encoding=encoding, mirrored=mirrored, held_by="the working folder", stage=stage, **choice
        )

    def describe(self) -> dict[str, Any]:
        """Fingerprint and number of the examples; see `StageExamples.fingerprint`."""
        table = SINGLES_FILE if self.stage == "pretrain" else TRIPLES_FILE
        return self.fingerprint([self.folder / ENCODING_FILE, self.folder.parent / table], self.places)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Tensor]]:
        """The items of a batch, which torch's loader reads together."""
        if get_worker_info() is not None and next(self.encoders.autoencoder.parameters()).is_cuda:
            raise ConfigError(
                "without a latent cache only the training process may use the GPU",
                found="--num_workers above 0",
                action="Pass --num_workers 0, or run `biomedjourney encode` without --no-cache",
            )
        drawn = [self._draw(index) for index in indices]
        new, new_log_variance = self._encode([(row.new_image, jitter) for row, jitter in drawn])
        priors, _ = self._encode([(row.prior_image, jitter) for row, jitter in drawn if row.prior_image])
        waiting = iter(priors)
        text_states = self.encoders.text_encoder.encode([self._text(row, jitter) for row, jitter in drawn]).cpu()
        return [
            {
                "new_mean": mean,
                "new_log_variance": log_variance,
                "prior_latent": next(waiting) if row.prior_image else self.dummy_like(mean),
                "valid": self._valid(row, jitter, factor=self.size // mean.shape[-1]),
                "text_states": states,
                "row": torch.tensor(row.place),
            }
            for (row, jitter), mean, log_variance, states in zip(drawn, new, new_log_variance, text_states)
        ]

    def _draw(self, index: int) -> tuple[ImageRow, Jitter]:
        number, variant = self.locate(index)
        row = self.rows[number]
        return row, self.augmentation.draw(row.prior_image or row.new_image, variant)

    def _encode(self, images: Sequence[tuple[str, Jitter]]) -> tuple[Tensor, Tensor]:
        if not images:
            return torch.empty(0), torch.empty(0)
        pixels = [apply_jitter(self._read(file), jitter).numpy() for file, jitter in images]
        moments = encode_images(self.encoders.autoencoder, pixels, batch_size=len(pixels), precision="float32")
        return torch.from_numpy(moments[0]), torch.from_numpy(moments[1])

    def _read(self, file: str) -> Tensor:
        return torch.from_numpy(read_square_images(self.folder.parent, [file], size=self.size)[0])

    def _valid(self, row: ImageRow, jitter: Jitter, *, factor: int) -> Tensor:
        if not row.valid_mask and not self.augmentation.leaves_gaps:
            return torch.ones(1, self.size // factor, self.size // factor)
        mask = torch.ones(self.size, self.size, dtype=torch.bool)
        if row.valid_mask:
            mask = self._read(row.valid_mask) > 0.5
        valid = valid_at_latent_resolution(move_mask(mask, jitter).numpy(), factor=factor)
        return torch.from_numpy(valid).float()[None]

    def _text(self, row: ImageRow, jitter: Jitter) -> str:
        return swap_sides(row.text) if jitter.mirrored else row.text


def read_rows(work: str | Path, *, stage: str) -> list[ImageRow]:
    """The examples of a stage, numbered as in the latent cache: single images with an impression, then triples."""
    work = Path(work)
    singles = read_json_lines(work / SINGLES_FILE, made_by="describe", keys=SINGLE_KEYS)
    singles = [row for row in singles if row["impression"]]
    if stage == "pretrain":
        return [
            ImageRow(place, row["split"], row["image"], "", "", row["impression"]) for place, row in enumerate(singles)
        ]
    triples = read_json_lines(work / TRIPLES_FILE, made_by="describe", keys=TRIPLE_KEYS)
    keys = ("split", "new_image", "prior_image", "valid_mask")
    return [
        ImageRow(
            place,
            text=row["progression_description"],
            journey_id=row.get("journey_id", ""),
            **{key: row[key] for key in keys},
        )
        for place, row in enumerate(triples, start=len(singles))
    ]


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
