"""The latent cache in memory-mapped files: posterior mean and log-variance of images, token states of texts."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.networks.nets import AutoencoderKL
from torch import Tensor

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.files import (
    file_hash,
    make_folder,
    read_json,
    read_json_lines,
    write_json,
    write_json_lines,
    written_atomically,
)
from biomedjourney_monai.schema import SINGLES_FILE, TRIPLES_FILE
from biomedjourney_monai.training.data.stage_examples import StageExamples


class ShardedArray:
    """Memory-mapped NumPy files, joined along their first axis.

    Args:
        folder: of the files.
        names: in order.

    Raises:
        TableError: if a file is absent or unreadable, or differs from the others in shape or type.
    """

    def __init__(self, folder: str | Path, names: Sequence[str]) -> None:
        self.shards = [_open(Path(folder) / name) for name in names]
        if not self.shards:
            raise TableError("a latent cache must have files", found="0", action="Run `biomedjourney encode` again")
        first = self.shards[0]
        if any((shard.shape[1:], shard.dtype) != (first.shape[1:], first.dtype) for shard in self.shards):
            raise TableError(
                f"{Path(folder)} must hold arrays of one shape and type",
                found=", ".join(sorted({f"{shard.dtype} {shard.shape[1:]}" for shard in self.shards})),
                action="Run `biomedjourney encode` again",
            )
        self._ends = list(accumulate(len(shard) for shard in self.shards))

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the joined array."""
        return (len(self), *self.shards[0].shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Of each file."""
        return self.shards[0].dtype

    def __getitem__(self, place: int) -> np.ndarray:
        """The item at a place, from 0."""
        if not 0 <= place < len(self):
            raise IndexError(f"place must be in [0, {len(self)}), found {place}")
        number = bisect_right(self._ends, place)
        shard = self.shards[number]
        return shard[place - self._ends[number] + len(shard)]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        whole = np.concatenate(self.shards)
        return whole if dtype is None else whole.astype(dtype)


def _open(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise TableError(
            f"{path} must be a readable array", found=type(error).__name__, action="Run `biomedjourney encode` again"
        ) from error


MEAN_FILE = "mean.npy"
LOG_VARIANCE_FILE = "log_variance.npy"
VALID_FILE = "valid.npy"
TEXT_FILE = "text_states.npy"
ROWS_FILE = "rows.jsonl"
ENCODING_FILE = "encoding.json"
SINGLE_KEYS = ("image", "split", "impression")
TRIPLE_KEYS = ("prior_image", "new_image", "split", "valid_mask", "progression_description")
"""Entries of the tables' rows that encoding and training read."""


@dataclass(frozen=True)
class LatentRow:
    """One training example, by its places in the cache.

    `prior` is -1 for the dummy prior, `valid` is -1 if the whole image is valid. `journey_id` is the running number of
    a triple's journey. `mirrored_text` is the text of mirrored variants, -1 for none. `changed` tells whether a
    triple's description changes one of the five findings; None in older caches and for single images.
    """

    stage: str
    split: str
    new: int
    prior: int
    valid: int
    text: int
    journey_id: str = ""
    mirrored_text: int = -1
    changed: bool | None = None


@torch.no_grad()
def encode_images(
    autoencoder: AutoencoderKL, images: Iterable[np.ndarray], *, batch_size: int = 64, precision: str = "float16"
) -> tuple[np.ndarray, np.ndarray]:
    """Encode images to posterior mean and log-variance, not to a sample: training draws new noise each time.

    Args:
        autoencoder: on its own device.
        images: float arrays of shape (H, W), values in [0, 1].
        batch_size: images per batch.
        precision: of the result, "float16" or "float32".

    Returns:
        Mean and log-variance, shape (N, C, h, w) each.
    """
    means, log_variances = [], []
    batch: list[np.ndarray] = []
    device = next((parameter.device for parameter in autoencoder.parameters()), "cpu")

    def flush() -> None:
        pixels = torch.from_numpy(np.stack(batch))[:, None].float() * 2 - 1  # (B, 1, H, W)
        mean, deviation = autoencoder.encode(pixels.to(device))
        means.append(mean.float().cpu().numpy().astype(precision))
        log_variances.append((2 * deviation.log()).float().cpu().numpy().astype(precision))
        batch.clear()

    for image in images:
        batch.append(image)
        if len(batch) == batch_size:
            flush()
    if batch:
        flush()
    return np.concatenate(means), np.concatenate(log_variances)


def valid_at_latent_resolution(mask: np.ndarray, *, factor: int) -> np.ndarray:
    """Reduce a pixel mask: a latent position is valid only if all its pixels are.

    Args:
        mask: bool, shape (H, W).
        factor: pixels per latent position.

    Returns:
        bool, shape (H / factor, W / factor).
    """
    height, width = mask.shape
    return np.asarray(mask.reshape(height // factor, factor, width // factor, factor).all(axis=(1, 3)))


def compute_scale_factor(means: np.ndarray, log_variances: np.ndarray) -> float:
    """One over the standard deviation of posterior samples (Rombach et al. 2022, section G)."""
    sample = means[:: max(1, len(means) // 500)].astype(np.float64)
    noise = np.exp(log_variances[:: max(1, len(log_variances) // 500)].astype(np.float64))
    return float(1 / np.sqrt(sample.var() + noise.mean()))


class LatentCache:
    """A folder of memory-mapped arrays in shards, and the rows that join them to training examples.

    It contains each image in `variants` successive variants; variant 0 is the image as it is.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open a cache.

        Raises:
            TableError: if a file is absent or unreadable.
        """
        self.folder = Path(folder)
        keys = [field.name for field in fields(LatentRow) if field.default is MISSING]
        rows = read_json_lines(self.folder / ROWS_FILE, made_by="encode", keys=keys)
        names = [field.name for field in fields(LatentRow)]
        self.rows = [LatentRow(**{name: row[name] for name in names if name in row}) for row in rows]
        self.encoding: dict[str, Any] = read_json(self.folder / ENCODING_FILE, made_by="encode")
        self.variants = int(self.encoding.get("variants", 1))
        self.mean = self._open(MEAN_FILE)
        self.log_variance = self._open(LOG_VARIANCE_FILE)
        self.valid = self._open(VALID_FILE)
        self.text = self._open(TEXT_FILE)

    def _open(self, name: str) -> ShardedArray:
        shards = self.encoding.get("shards", {})  # without shards, each array is one file
        return ShardedArray(self.folder, shards.get(Path(name).stem, [name]))

    @staticmethod
    def write(
        folder: str | Path,
        *,
        mean: np.ndarray,
        log_variance: np.ndarray,
        valid: np.ndarray,
        text_states: np.ndarray,
        rows: Sequence[LatentRow],
        encoding: dict[str, Any],
    ) -> None:
        """Write a whole cache that fits in memory, the rows last, so that an interrupted write is not a cache."""
        folder = Path(folder)
        make_folder(folder)
        (folder / ROWS_FILE).unlink(missing_ok=True)
        arrays = {MEAN_FILE: mean, LOG_VARIANCE_FILE: log_variance, VALID_FILE: valid, TEXT_FILE: text_states}
        for name, array in arrays.items():
            with written_atomically(folder / name) as temporary:
                np.save(temporary, array)
        write_json(folder / ENCODING_FILE, encoding)
        write_json_lines(folder / ROWS_FILE, [vars(row) for row in rows])


class LatentDataset(StageExamples):
    """Training examples of one stage and split, from the latent cache.

    Each item is a dict of tensors: `new_mean`, `new_log_variance`, `prior_latent` (C, h, w); `valid` (1, h, w);
    `text_states` (L, W); `row`, the place in the cache's rows, ().

    Args:
        folder: the latent cache.
        stage: "pretrain" or "finetune".
        **choice: which of the stage's examples; see `StageExamples`.

    Raises:
        TableError, ConfigError: as `StageExamples`.
    """

    def __init__(self, folder: str | Path, *, stage: str, **choice: Any) -> None:
        self.cache = LatentCache(folder)
        rows = {place: row for place, row in enumerate(self.cache.rows) if row.stage == stage}
        mirrored = bool(self.cache.encoding.get("mirrored"))
        super().__init__(
            rows, encoding=self.cache.encoding, mirrored=mirrored, held_by="the latent cache", stage=stage, **choice
        )

    def describe(self) -> dict[str, Any]:
        """Fingerprint and number of the examples; see `StageExamples.fingerprint`."""
        files = [self.cache.folder / name for name in (ENCODING_FILE, ROWS_FILE)]
        return self.fingerprint(files, (self.places, self.cache.mean.shape, self.cache.text.shape))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number, variant = self.locate(index)
        return self.read(number, variant)

    def read(self, number: int, variant: int) -> dict[str, Tensor]:
        """One example in one of its variants."""
        row, cache = self.rows[number], self.cache
        mean = _tensor(cache.mean[row.new * self.variants + variant])
        if row.prior < 0:
            prior_latent = self.dummy_like(mean)
        else:
            prior_latent = _tensor(cache.mean[row.prior * self.variants + variant])
        if row.valid < 0:
            valid = torch.ones(1, *mean.shape[1:])
        else:
            valid = _tensor(cache.valid[row.valid * self.variants + variant])[None]
        text = row.mirrored_text if self.mirrored and variant % 2 else row.text
        return {
            "new_mean": mean,
            "new_log_variance": _tensor(cache.log_variance[row.new * self.variants + variant]),
            "prior_latent": prior_latent,
            "valid": valid,
            "text_states": _tensor(cache.text[text]),
            "row": torch.tensor(self.places[number]),
        }

    def changed(self) -> list[bool]:
        """Whether each example's description changes one of the five findings.

        Raises:
            TableError: if the cache does not tell.
        """
        if any(row.changed is None for row in self.rows):
            raise self._too_old("which triples change a finding")
        return [bool(row.changed) for row in self.rows]

    def films(self) -> list[int]:
        """The split's whole films, those of single images and the priors of triples, by their places in the cache."""
        rows = [row for row in self.cache.rows if row.split == self.split]
        return list(dict.fromkeys(row.new if row.stage == "pretrain" else row.prior for row in rows))

    def unchanged_texts(self) -> list[int]:
        """The places of the sentences that say that nothing changes.

        Raises:
            TableError: if the cache does not contain them.
        """
        texts: list[int] = self.cache.encoding.get("unchanged_texts", [])
        if not texts:
            raise self._too_old("sentences that say that nothing changes")
        return texts

    def read_unchanged(self, film: int, variant: int, text: int) -> dict[str, Tensor]:
        """An example whose new image is the prior, by their places in the cache; its `row` is -1."""
        place = film * self.variants + variant
        mean = _tensor(self.cache.mean[place])
        return {
            "new_mean": mean,
            "new_log_variance": _tensor(self.cache.log_variance[place]),
            "prior_latent": mean.clone(),
            "valid": torch.ones(1, *mean.shape[1:]),
            "text_states": _tensor(self.cache.text[text]),
            "row": torch.tensor(-1),
        }

    def _too_old(self, what: str) -> TableError:
        return TableError(
            f"the latent cache must tell {what}",
            found=f"an older cache in {self.cache.folder}",
            action="Run `biomedjourney encode` again; it keeps what is encoded",
        )


def require_fresh(folder: str | Path) -> None:
    """Compare the tables and some images of the working folder with those that the cache was made from, if they exist.

    Raises:
        TableError: if they differ.
    """
    folder = Path(folder)
    made_from: dict[str, str] = read_json(folder / ENCODING_FILE, made_by="encode").get("made_from", {})
    for name, known in made_from.items():
        path = folder.parent / name
        if path.is_file() and file_hash(path) != known:
            raise TableError(
                "the latent cache must be made from the working folder as it is now",
                found=f"a changed {name}" if name in (SINGLES_FILE, TRIPLES_FILE) else "images that were changed since",
                action="Run `biomedjourney encode` again",
            )


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32))
