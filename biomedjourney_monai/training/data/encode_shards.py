"""Encode a part of the images, masks or texts into files of the latent cache; what is there already is left alone."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from biomedjourney_monai.training.data.augmentation import Augmentation

IMAGES_PER_SHARD = 512
TEXTS_PER_SHARD = 256
KEY_DIGITS = 16


@dataclass(frozen=True)
class Shard:
    """A part of what is to be encoded.

    Attributes:
        kind: "images", "masks" or "texts".
        number: of its kind, from 0.
        entries: texts; or, for images and masks, pairs of a file ("" for a mask that is valid everywhere) and of the
            name that shares its changes.
    """

    kind: str
    number: int
    entries: tuple[Any, ...]


def cut_into_shards(kind: str, entries: list[Any]) -> list[Shard]:
    """Parts of a fixed size, in order."""
    size = TEXTS_PER_SHARD if kind == "texts" else IMAGES_PER_SHARD
    starts = range(0, len(entries), size)
    return [Shard(kind, number, tuple(entries[start : start + size])) for number, start in enumerate(starts)]


@dataclass(frozen=True)
class ShardWriter:
    """Encodes a shard and writes its arrays; a function without state, for use in many processes.

    The files' names end with a hash of everything that decides their content: the bytes of each image, the weights of
    the autoencoder, the changes, the precision. So a stopped run goes on where it was, and nothing stale is reused.

    Attributes:
        work: the working folder.
        folder: of the latent cache.
        networks: the command line's `bundle` and `overlay`, as absolute paths.
        autoencoder_hash, text_encoder_hash: of the weights.
        size: side of the images in pixels.
        factor: pixels of a latent position.
        variants: of each image and mask, the first as it is.
        augmentation: draws the changes of the others.
        precision: of latents and token states, "float16" or "float32".
        batch_size: images at once.
        threads: of each process; 0 leaves it to torch.
    """

    work: str
    folder: str
    networks: tuple[tuple[str, str | None], ...]
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
        """Write the shard's arrays.

        Returns:
            Array name -> file name.
        """
        import numpy as np
        import torch

        from biomedjourney_monai.files import written_atomically

        if self.threads:
            torch.set_num_threads(self.threads)
        key = self._key(shard)
        arrays = {"images": ("mean", "log_variance"), "masks": ("valid",), "texts": ("text_states",)}[shard.kind]
        names = {array: f"{array}-{shard.number:05d}-{key}.npy" for array in arrays}
        if all((Path(self.folder) / name).is_file() for name in names.values()):
            return names
        encode = {"images": self._encode_images, "masks": self._move_masks, "texts": self._encode_texts}[shard.kind]
        for array, content in zip(arrays, encode(shard.entries)):
            with written_atomically(Path(self.folder) / names[array]) as temporary:
                np.save(temporary, content)
        return names

    def _key(self, shard: Shard) -> str:
        if shard.kind == "texts":
            content: list[Any] = [self.text_encoder_hash, self.precision, shard.entries]
        else:
            hashes = [[_file_hash(self.work, file), name] for file, name in shard.entries]
            content = [self.size, self.variants, asdict(self.augmentation), hashes]
            own = [self.autoencoder_hash, self.precision] if shard.kind == "images" else [self.factor]
            content += own
        return hashlib.sha256(json.dumps([shard.kind, content]).encode()).hexdigest()[:KEY_DIGITS]

    def _encode_images(self, entries: tuple[tuple[str, str], ...]) -> tuple[np.ndarray, np.ndarray]:
        from biomedjourney_monai.training.data.latents import encode_images

        autoencoder = load_autoencoder(self.networks, str(self._weights()), self.autoencoder_hash)
        return encode_images(
            autoencoder, self._changed_images(entries), batch_size=self.batch_size, precision=self.precision
        )

    def _changed_images(self, entries: tuple[tuple[str, str], ...]) -> Iterator[np.ndarray]:
        from biomedjourney_monai.training.data.augmentation import apply_jitter

        for file, name in entries:
            image = self._read(file)
            for variant in range(self.variants):
                yield apply_jitter(image, self.augmentation.draw(name, variant)).numpy()

    def _move_masks(self, entries: tuple[tuple[str, str], ...]) -> tuple[np.ndarray]:
        import numpy as np
        import torch

        from biomedjourney_monai.training.data.augmentation import move_mask
        from biomedjourney_monai.training.data.latents import valid_at_latent_resolution

        reduced = []
        for file, name in entries:
            mask = self._read(file) > 0.5 if file else torch.ones(self.size, self.size, dtype=torch.bool)
            for variant in range(self.variants):
                moved = move_mask(mask, self.augmentation.draw(name, variant))
                reduced.append(valid_at_latent_resolution(moved.numpy(), factor=self.factor))
        return (np.stack(reduced),)

    def _encode_texts(self, texts: tuple[str, ...]) -> tuple[np.ndarray]:
        import numpy as np

        encoder = load_text_encoder(self.networks)
        logger = logging.getLogger(type(encoder).__module__)
        logger.disabled = True  # it warns of every text that is cut; the summary counts them
        try:
            states = [encoder.encode([text])[0].cpu().numpy().astype(self.precision) for text in texts]
        finally:
            logger.disabled = False
        return (np.stack(states),)

    def _read(self, file: str) -> Tensor:
        import torch

        from biomedjourney_monai.cli.bundle_model import read_square_images

        return torch.from_numpy(read_square_images(Path(self.work), [file], size=self.size)[0])

    def _weights(self) -> Path:
        return Path(self.work) / "runs" / "autoencoder.pt"


@lru_cache(maxsize=1)
def load_autoencoder(networks: tuple[tuple[str, str | None], ...], weights: str, _hash: str) -> Any:
    """The autoencoder on the GPU where there is one; once for each process and each content of the file."""
    from biomedjourney_monai.cli.bundle_model import compose_networks
    from biomedjourney_monai.training import first_stage

    autoencoder = compose_networks(argparse.Namespace(**dict(networks))).get_parsed_content("autoencoder").eval()
    return first_stage.load_autoencoder(autoencoder.to(device()), weights)


@lru_cache(maxsize=1)
def load_text_encoder(networks: tuple[tuple[str, str | None], ...]) -> Any:
    """The text encoder, likewise."""
    from biomedjourney_monai.cli.bundle_model import compose_networks

    return compose_networks(argparse.Namespace(**dict(networks))).get_parsed_content("text_encoder").to(device())


def device() -> str:
    """Where to encode."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _file_hash(work: str, file: str) -> str:
    from biomedjourney_monai.errors import ImageError
    from biomedjourney_monai.files import file_hash

    try:
        return file_hash(Path(work) / file) if file else ""
    except OSError as error:
        raise ImageError(
            "a prepared image must be readable",
            found=error.strerror or type(error).__name__,
            action="Run `biomedjourney register` again",
        ) from error
