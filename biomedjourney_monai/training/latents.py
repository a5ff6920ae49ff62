"""The latent cache: posterior mean and log-variance of every image, token states of every text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.networks.nets import AutoencoderKL
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.files import (
    file_hash,
    read_json,
    read_json_lines,
    write_json,
    write_json_lines,
    written_atomically,
)

MEAN_FILE = "mean.npy"
LOG_VARIANCE_FILE = "log_variance.npy"
VALID_FILE = "valid.npy"
TEXT_FILE = "text_states.npy"
ROWS_FILE = "rows.jsonl"
ENCODING_FILE = "encoding.json"
DUMMY_GREY = 128 / 255
"""The paper's dummy prior of stage 1: every pixel 128 of 255."""


@dataclass(frozen=True)
class LatentRow:
    """One training example by its places in the cache.

    `prior` is -1 for the dummy prior; `valid` is -1 where the whole image is valid. `journey_id` names the journey of a
    triple, a running number without an identifier in it.
    """

    stage: str
    split: str
    new: int
    prior: int
    valid: int
    text: int
    journey_id: str = ""


@torch.no_grad()
def encode_images(
    autoencoder: AutoencoderKL, images: Iterable[np.ndarray], *, count: int, batch_size: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Encode images to posterior mean and log-variance, never to a sample: the noise is drawn anew in training.

    Args:
        autoencoder: first stage.
        images: float arrays of shape (H, W), values in [0, 1].
        count: how many, for the progress bar.

    Returns:
        Mean and log-variance, float16, shape (N, C, h, w) each.
    """
    means, log_variances, batch = [], [], []
    device = next((parameter.device for parameter in autoencoder.parameters()), "cpu")

    def flush() -> None:
        pixels = torch.from_numpy(np.stack(batch))[:, None].float() * 2 - 1  # (B, 1, H, W)
        mean, deviation = autoencoder.encode(pixels.to(device))
        means.append(mean.half().cpu().numpy())
        log_variances.append((2 * deviation.log()).half().cpu().numpy())
        batch.clear()

    for image in tqdm(images, total=count, desc="encode images", unit="image"):
        batch.append(image)
        if len(batch) == batch_size:
            flush()
    if batch:
        flush()
    return np.concatenate(means), np.concatenate(log_variances)


def valid_at_latent_resolution(mask: np.ndarray, *, factor: int) -> np.ndarray:
    """Reduce a pixel mask: a latent position is valid only if all of its pixels are.

    Args:
        mask: bool, shape (H, W).
        factor: pixels per latent position.

    Returns:
        bool, shape (H / factor, W / factor).
    """
    height, width = mask.shape
    return mask.reshape(height // factor, factor, width // factor, factor).all(axis=(1, 3))


def compute_scale_factor(means: np.ndarray, log_variances: np.ndarray) -> float:
    """One over the standard deviation of posterior samples (Rombach et al. 2022, section G)."""
    sample = means[:: max(1, len(means) // 500)].astype(np.float64)
    noise = np.exp(log_variances[:: max(1, len(log_variances) // 500)].astype(np.float64))
    return float(1 / np.sqrt(sample.var() + noise.mean()))


class LatentCache:
    """A folder of memory-mapped arrays, and the rows that join them to training examples."""

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
        self.mean = self._open(MEAN_FILE)
        self.log_variance = self._open(LOG_VARIANCE_FILE)
        self.valid = self._open(VALID_FILE)
        self.text = self._open(TEXT_FILE)

    def _open(self, name: str) -> np.ndarray:
        try:
            return np.load(self.folder / name, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise TableError(
                f"{self.folder / name} must be a readable array",
                found=type(error).__name__,
                action="Run `biomedjourney encode` again",
            ) from error

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
        """Write a whole cache; the rows come last, so that an interrupted write is not mistaken for a cache."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ROWS_FILE).unlink(missing_ok=True)
        arrays = {MEAN_FILE: mean, LOG_VARIANCE_FILE: log_variance, VALID_FILE: valid, TEXT_FILE: text_states}
        for name, array in arrays.items():
            with written_atomically(folder / name) as temporary:
                np.save(temporary, array)
        write_json(folder / ENCODING_FILE, encoding)
        write_json_lines(folder / ROWS_FILE, [vars(row) for row in rows])


class LatentDataset(Dataset):
    """Training examples of one stage and split.

    Each item is a dict of tensors: `new_mean`, `new_log_variance`, `prior_latent` (C, h, w); `valid` (1, h, w);
    `text_states` (L, W); `row`, the place in the cache's rows, ().

    Args:
        folder: the latent cache.
        stage: "pretrain" or "finetune".
        split: one of schema.SPLITS.
        process, processes: take every `processes`-th example, from `process` on.
    """

    def __init__(self, folder: str | Path, *, stage: str, split: str, process: int = 0, processes: int = 1) -> None:
        self.cache = LatentCache(folder)
        chosen = [place for place, row in enumerate(self.cache.rows) if row.stage == stage and row.split == split]
        self.places = chosen[process::processes]  # among all rows of the cache
        self.rows = [self.cache.rows[place] for place in self.places]
        if not self.rows:
            raise TableError(
                f"the latent cache must hold {stage} examples of split {split}",
                found="none",
                action="Prepare more patients, or choose another split",
            )
        self.dummy_prior = torch.tensor(self.cache.encoding["dummy_prior"], dtype=torch.float32)  # (C,)

    def __len__(self) -> int:
        return len(self.rows)

    def describe(self) -> dict[str, Any]:
        """A fingerprint of the examples, 64 hexadecimal digits, and how many there are."""
        digest = hashlib.sha256(file_hash(self.cache.folder / ENCODING_FILE).encode())
        digest.update(file_hash(self.cache.folder / ROWS_FILE).encode())
        digest.update(repr((self.places, self.cache.mean.shape, self.cache.text.shape)).encode())
        return {"fingerprint": digest.hexdigest(), "examples": len(self)}

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        row, cache = self.rows[index], self.cache
        mean = _tensor(cache.mean[row.new])
        if row.prior < 0:
            prior_latent = self.dummy_prior[:, None, None].expand_as(mean).clone()
        else:
            prior_latent = _tensor(cache.mean[row.prior])
        valid = torch.ones(1, *mean.shape[1:]) if row.valid < 0 else _tensor(cache.valid[row.valid])[None]
        return {
            "new_mean": mean,
            "new_log_variance": _tensor(cache.log_variance[row.new]),
            "prior_latent": prior_latent,
            "valid": valid,
            "text_states": _tensor(cache.text[row.text]),
            "row": torch.tensor(self.places[index]),
        }


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32))
