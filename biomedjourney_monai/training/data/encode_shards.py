"""Encode each image, mask and text once, part by part, into files of the latent cache. Files that exist are kept."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.networks.nets import AutoencoderKL
from torch import Tensor

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.files import file_hash, written_atomically
from biomedjourney_monai.model_config import ModelConfig
from biomedjourney_monai.networks.text.encoder import TextEncoder
from biomedjourney_monai.preparation.descriptions.progression import CHANGED_KINDS
from biomedjourney_monai.preparation.descriptions.request import read_request
from biomedjourney_monai.radiographs.read.prepared import read_square_images
from biomedjourney_monai.schema import FINDINGS
from biomedjourney_monai.training import first_stage
from biomedjourney_monai.training.data.augmentation import Augmentation, apply_jitter, move_mask, swap_sides
from biomedjourney_monai.training.data.latents import LatentRow, encode_images, valid_at_latent_resolution

IMAGES_PER_SHARD = 512
TEXTS_PER_SHARD = 256
KEY_DIGITS = 16
ARRAYS = {"images": ("mean", "log_variance"), "masks": ("valid",), "texts": ("text_states",)}
"""The arrays of the latent cache, by the kind of shard that they are written from."""

Picture = tuple[str, str]
"""A file of the working folder ("" for a mask that is valid everywhere), and the name that its changes are drawn by."""


@dataclass(frozen=True)
class Shard:
    """A part of the images, masks or texts.

    Attributes:
        kind: a key of `ARRAYS`.
        number: of its kind, from 0.
        entries: texts; or, for images and masks, pictures.
    """

    kind: str
    number: int
    entries: tuple[Any, ...]


def cut_into_shards(kind: str, entries: Sequence[Any]) -> list[Shard]:
    """Cut into parts of a fixed size, in order."""
    size = TEXTS_PER_SHARD if kind == "texts" else IMAGES_PER_SHARD
    starts = range(0, len(entries), size)
    return [Shard(kind, number, tuple(entries[start : start + size])) for number, start in enumerate(starts)]


@dataclass(frozen=True)
class ShardWriter:
    """Encodes a shard and writes its arrays. Stateless and picklable, for worker processes.

    The names of the files end with a hash of everything that decides their content: the bytes of each image, the
    weights of the autoencoder, the changes, the precision. A stopped run therefore continues, and no outdated file is
    used.

    Attributes:
        work: working folder, an absolute path.
        folder: folder of the latent cache.
        model: names the networks, with absolute paths; the autoencoder's weights are the working folder's own.
        autoencoder_hash, text_encoder_hash: of the weights.
        size: side of the images in pixels.
        factor: pixels per latent position.
        variants: of each image and mask, the first unchanged.
        augmentation: draws the changes of the other variants.
        precision: of latents and token states, "float16" or "float32".
        batch_size: images per batch.
        threads: of each process; 0 for torch's default.
    """

    work: Path
    folder: Path
    model: ModelConfig
    autoencoder_hash: str
    text_encoder_hash: str
    size: int
    factor: int
    variants: int
    augmentation: Augmentation
    precision: str
    batch_size: int
    threads: int = 0

    def __call__(self, shard: Shard) -> dict[str, str]:
        """Write the shard's arrays; returns the file name of each array."""
        if self.threads:
            torch.set_num_threads(self.threads)
        key = self._key(shard)
        names = {array: f"{array}-{shard.number:05d}-{key}.npy" for array in ARRAYS[shard.kind]}
        if all((self.folder / name).is_file() for name in names.values()):
            return names
        encoders: dict[str, Callable[[Any], tuple[np.ndarray, ...]]] = {
            "images": self._encode_images,
            "masks": self._move_masks,
            "texts": self._encode_texts,
        }
        for name, content in zip(names.values(), encoders[shard.kind](shard.entries)):
            with written_atomically(self.folder / name) as temporary:
                np.save(temporary, content)
        return names

    def read_image(self, file: str) -> np.ndarray:
        """Read a prepared image: float32 in [0, 1], shape (size, size)."""
        return read_square_images(self.work, [file], size=self.size)[0]

    def load_autoencoder(self) -> AutoencoderKL:
        """The working folder's autoencoder."""
        return load_autoencoder(self.model, str(autoencoder_file(self.work)), self.autoencoder_hash)

    def _key(self, shard: Shard) -> str:
        content: list[object]
        if shard.kind == "texts":
            content = [self.text_encoder_hash, self.precision, shard.entries]
        else:
            hashes = [[_file_hash(self.work, file), name] for file, name in shard.entries]
            own = [self.autoencoder_hash, self.precision] if shard.kind == "images" else [self.factor]
            content = [self.size, self.variants, asdict(self.augmentation), hashes, *own]
        return hashlib.sha256(json.dumps([shard.kind, content]).encode()).hexdigest()[:KEY_DIGITS]

    def _encode_images(self, entries: Sequence[Picture]) -> tuple[np.ndarray, np.ndarray]:
        images = self._changed_images(entries)
        return encode_images(self.load_autoencoder(), images, batch_size=self.batch_size, precision=self.precision)

    def _changed_images(self, entries: Sequence[Picture]) -> Iterator[np.ndarray]:
        for file, name in entries:
            image = torch.from_numpy(self.read_image(file))
            for variant in range(self.variants):
                yield apply_jitter(image, self.augmentation.draw(name, variant)).numpy()

    def _move_masks(self, entries: Sequence[Picture]) -> tuple[np.ndarray]:
        reduced = []
        for file, name in entries:
            mask: Tensor = torch.ones(self.size, self.size, dtype=torch.bool)
            if file:
                mask = torch.from_numpy(self.read_image(file)) > 0.5
            for variant in range(self.variants):
                moved = move_mask(mask, self.augmentation.draw(name, variant))
                reduced.append(valid_at_latent_resolution(moved.numpy(), factor=self.factor))
        return (np.stack(reduced),)

    def _encode_texts(self, texts: Sequence[str]) -> tuple[np.ndarray]:
        encoder = load_text_encoder(self.model)
        logger = logging.getLogger(type(encoder).__module__)
        logger.disabled = True  # it warns of every text that is cut; the summary counts them
        try:
            states = [encoder.encode([text])[0].cpu().numpy().astype(self.precision) for text in texts]
        finally:
            logger.disabled = False
        return (np.stack(states),)


def autoencoder_file(work: Path) -> Path:
    """Where a working folder keeps its autoencoder's weights."""
    return work / "runs" / "autoencoder.pt"


@lru_cache(maxsize=1)
def load_autoencoder(model: ModelConfig, weights: str, _hash: str) -> AutoencoderKL:
    """Load an autoencoder, onto the GPU if there is one; once for each process and each content of the file."""
    autoencoder: AutoencoderKL = model.compose().get_parsed_content("autoencoder").eval()
    return first_stage.load_autoencoder(autoencoder.to(_device()), weights)


@lru_cache(maxsize=1)
def load_text_encoder(model: ModelConfig) -> TextEncoder:
    """Load the text encoder, onto the GPU if there is one; once for each process."""
    encoder: TextEncoder = model.compose().get_parsed_content("text_encoder")
    return encoder.to(_device())


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _file_hash(work: Path, file: str) -> str:
    try:
        return file_hash(work / file) if file else ""
    except OSError as error:
        raise ImageError(
            "a prepared image must be readable",
            found=error.strerror or type(error).__name__,
            action="Run `biomedjourney register` again",
        ) from error


UNCHANGED_TEXTS = (
    "No interval change.",
    "Unchanged.",
    "No change.",
    "Stable.",
    "No significant interval change.",
    "No relevant change since the prior study.",
    "Unchanged from the prior study.",
    "Stable appearance of the chest.",
    "The chest is unchanged.",
    "No new findings.",
    "There has been no interval change.",
    "Similar to the prior study.",
    "Unchanged appearance of the heart and lungs.",
)
"""Sentences for training pairs whose new image is the prior. Their number, 13, has no factor in common with that of an
image's variants."""


class EncodeTable:
    """Collects images, masks and texts from the two tables.

    Args:
        singles: rows of singles.jsonl.
        triples: rows of triples.jsonl.
        augmentation: decides which names share changes, whether single images need masks, and whether texts are
            mirrored.

    Attributes:
        images, masks, texts: each a dictionary from the entry to its place in the cache, in order.
        rows: the training examples by these places.
        unchanged_texts: the places of `UNCHANGED_TEXTS`, which are encoded after all other texts.
    """

    def __init__(
        self, singles: Sequence[Mapping[str, Any]], triples: Sequence[Mapping[str, Any]], *, augmentation: Augmentation
    ) -> None:
        self.augmentation = augmentation
        self.images: dict[Picture, int] = {}
        self.masks: dict[Picture, int] = {}
        self.texts: dict[str, int] = {}
        for row in singles:
            self._place(self.images, row["image"], row["image"])
        for row in triples:
            self._place(self.images, row["prior_image"], row["prior_image"])
            self._place(self.images, row["new_image"], row["prior_image"])
        for row in singles:
            self._text(row["impression"])
        self.rows = [self._single(row) for row in singles if row["impression"]]
        self.rows += [self._triple(row) for row in triples]
        self.unchanged_texts = [self._text(text) for text in UNCHANGED_TEXTS]

    @property
    def files(self) -> list[str]:
        """Image files, each once."""
        return list(dict.fromkeys(file for file, _ in self.images))

    def _place(self, places: dict[Picture, int], file: str, name: str) -> int:
        return places.setdefault((file, name if self.augmentation.changes else ""), len(places))

    def _text(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))

    def _mirrored(self, text: str) -> int:
        return self._text(swap_sides(text)) if self.augmentation.reproduce_paper_flip else -1

    def _single(self, row: Mapping[str, Any]) -> LatentRow:
        return LatentRow(
            "pretrain",
            row["split"],
            new=self._place(self.images, row["image"], row["image"]),
            prior=-1,
            valid=self._place(self.masks, "", row["image"]) if self.augmentation.leaves_gaps else -1,
            text=self._text(row["impression"]),
            mirrored_text=self._mirrored(row["impression"]),
        )

    def _triple(self, row: Mapping[str, Any]) -> LatentRow:
        name = row["prior_image"]
        return LatentRow(
            "finetune",
            row["split"],
            new=self._place(self.images, row["new_image"], name),
            prior=self._place(self.images, name, name),
            valid=self._place(self.masks, row["valid_mask"], name),
            text=self._text(row["progression_description"]),
            journey_id=row.get("journey_id", ""),
            mirrored_text=self._mirrored(row["progression_description"]),
            changed=changes_a_finding(row["progression_description"]),
        )


def changes_a_finding(description: str) -> bool:
    """Whether a description says that one of the five findings is new, worse, better or gone.

    Example:
        >>> changes_a_finding("New mild edema."), changes_a_finding("Mild edema is unchanged. No pneumothorax.")
        (True, False)
    """
    changes = read_request(description).changes
    return any(change.label in FINDINGS and change.kind in CHANGED_KINDS for change in changes)
