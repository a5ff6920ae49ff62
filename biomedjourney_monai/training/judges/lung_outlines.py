"""Train the outlines of lung fields and heart on varied rendered films, then on real films by the network's consensus.

Real films need no outlines of people: views of one film that differ in exposure, blur, scale and place are outlined,
moved back and averaged, and the cleaned average teaches the network where the views agree.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, avg_pool2d, binary_cross_entropy_with_logits, grid_sample
from tqdm import tqdm

from biomedjourney_monai import __version__
from biomedjourney_monai.errors import ConfigError, TableError
from biomedjourney_monai.evaluation.judges.lung_outlines import (
    LUNG_OUTLINES_FILE,
    OUTLINE_SIZE,
    OUTLINED,
    LungOutlines,
    OutlineNetwork,
    clean_outlines,
)
from biomedjourney_monai.evaluation.judges.phantom import save_weights
from biomedjourney_monai.files import file_hash, read_table, write_json
from biomedjourney_monai.radiographs import read_png
from biomedjourney_monai.schema import IMAGES_FOLDER, STUDIES_FILE
from biomedjourney_monai.training.judges.varied_films import draw_varied, vary

BATCH_SIZE = 16
PEAK_LEARNING_RATE, REAL_LEARNING_RATE = 3e-3, 1e-3
SURE, AGREED = 0.8, 0.90
"""A view is sure of a pixel beyond this probability; a film teaches if its views' outlines overlap by this Dice."""


@dataclass(frozen=True)
class TrainedOutlines:
    """The weights file, the rendered films and real films trained on, and the Dice of held-out rendered films."""

    file: Path
    rendered: int
    real: int
    marks: dict[str, float]


def train_outlines(
    out: str | Path = "judges",
    *,
    seed: int = 900100,
    images: int = 2000,
    steps: int = 1500,
    real: str | Path | None = None,
    films: int = 2000,
    real_steps: int = 1000,
    processes: int | None = None,
) -> TrainedOutlines:
    """Train the outlines of lung fields and heart; writes lung_outlines.pt and lung_outlines.json.

    Args:
        out: folder for the weights.
        seed: of films and training; same arguments, same weights.
        images: varied rendered films, of which a twentieth is held out.
        steps: of the optimiser on them.
        real: working folder with studies.parquet and images/ whose training films continue the training; None for none.
        films: of it, at most.
        real_steps: of the optimiser, on both kinds of film.
        processes: that render; None for all cores.

    Raises:
        ConfigError: if a number is too small.
        TableError: if the working folder has no training films.
    """
    if images < 20 or min(steps, films, real_steps) < 1:
        found = f"{images}, {steps}, {films} and {real_steps}"
        raise ConfigError("--images must be >= 20, --steps, --films and --real-steps >= 1", found=found)
    pictures = read_training_films(Path(real), films) if real else None
    drawn, outlines = draw_varied(images, seed=seed, size=OUTLINE_SIZE, processes=processes)
    held_out = max(1, images // 20)
    rendered = TaughtFilms(drawn[held_out:], outlines[held_out:])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = OutlineNetwork()
    fit_outlines(network, rendered, steps=steps, seed=seed)
    taught = 0
    if pictures is not None:
        agreed = agree_on_outlines(network, pictures, seed=seed)
        taught = len(agreed.films)
        mixed = join_films(rendered, agreed)
        fit_outlines(network, mixed, steps=real_steps, seed=seed + 1, learning_rate=REAL_LEARNING_RATE)
    file = Path(out) / LUNG_OUTLINES_FILE
    save_weights(network, file)
    marks = mark_outlines(network, drawn[:held_out], outlines[:held_out])
    facts = {"version": __version__, "seed": seed, "images": images, "steps": steps, "real_films": taught}
    facts |= {"real_steps": real_steps if taught else 0, "held_out_dice": marks, "sha256": file_hash(file)}
    write_json(Path(out) / "lung_outlines.json", facts)
    return TrainedOutlines(file, len(rendered.films), taught, marks)


def read_training_films(work: Path, films: int) -> np.ndarray:
    """Read films of training patients from a working folder, evenly spread; uint8, shape (N, 64, 64)."""
    studies = read_table(work / STUDIES_FILE, columns=("dicom_id", "split"), made_by="cohort")
    files = [work / IMAGES_FOLDER / f"{name}.png" for name in studies.loc[studies["split"] == "train", "dicom_id"]]
    files = [file for file in files if file.is_file()]
    if not files:
        raise TableError(f"{work} must hold training films", found="none in images/", action="Run register first")
    chosen = files[:: max(1, len(files) // films)][:films]
    small = [cv2.resize(read_png(file), (OUTLINE_SIZE, OUTLINE_SIZE), interpolation=cv2.INTER_AREA) for file in chosen]
    return np.round(np.stack(small) * 255).astype(np.uint8)


def mark_outlines(network: OutlineNetwork, films: np.ndarray, outlines: np.ndarray) -> dict[str, float]:
    """Return the mean Dice of each structure; arguments as of `TaughtFilms`."""
    images = torch.from_numpy(films).float()[:, None] / 255
    found = LungOutlines(network.eval(), "").outline(images)
    both = 2 * (found & (outlines > 0)).sum(axis=(2, 3)) / np.maximum(found.sum((2, 3)) + outlines.sum((2, 3)), 1)
    return {name: round(float(value), 4) for name, value in zip(OUTLINED, both.mean(axis=0))}


@dataclass(frozen=True)
class TaughtFilms:
    """Films with the outlines that they teach.

    Attributes:
        films: uint8, shape (N, S, S).
        outlines: uint8 0 or 1, shape (N, 3, S, S).
        shares: of each pixel in the loss, 0 to 255, uint8, shape (N, 3, S, S); None for equal shares.
    """

    films: np.ndarray
    outlines: np.ndarray
    shares: np.ndarray | None = None


def join_films(one: TaughtFilms, other: TaughtFilms) -> TaughtFilms:
    """Join two collections."""
    shares = [
        np.full(part.outlines.shape, 255, np.uint8) if part.shares is None else part.shares for part in (one, other)
    ]
    films = np.concatenate([one.films, other.films])
    return TaughtFilms(films, np.concatenate([one.outlines, other.outlines]), np.concatenate(shares))


def fit_outlines(
    network: OutlineNetwork,
    taught: TaughtFilms,
    *,
    steps: int,
    seed: int,
    learning_rate: float = PEAK_LEARNING_RATE,
) -> OutlineNetwork:
    """Train the network, in place.

    Args:
        taught: films and outlines.
        steps: of the optimiser.
        seed: of batches and variations; same arguments, same weights.
        learning_rate: the highest.
    """
    network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps + 1, pct_start=0.1)
    generator = torch.Generator().manual_seed(seed)
    rows = _endless_batches(len(taught.films), generator)
    with tqdm(range(steps), desc="lung outlines", unit="step", mininterval=5) as bar:
        for _ in bar:
            chosen = next(rows)
            images = torch.from_numpy(taught.films[chosen]).float()[:, None] / 255
            wanted = torch.from_numpy(taught.outlines[chosen]).float()
            share = torch.ones_like(wanted)
            if taught.shares is not None:
                share = torch.from_numpy(taught.shares[chosen]).float() / 255
            images, moved = vary(images, torch.cat([wanted, share], dim=1), generator=generator)
            loss = outline_loss(network(_as_input(images)), *moved.chunk(2, dim=1))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 2.0)
            optimizer.step()
            schedule.step()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    return network.to(memory_format=torch.contiguous_format).eval()


def outline_loss(logits: Tensor, wanted: Tensor, share: Tensor) -> Tensor:
    """Cross entropy and overlap of outlines, each pixel by its share; all of shape (B, 3, H, W)."""
    logits = logits.float()
    found = logits.sigmoid() * share
    overlap = (2 * (found * wanted).sum(dim=(2, 3)) + 1) / (
        found.sum(dim=(2, 3)) + (wanted * share).sum(dim=(2, 3)) + 1
    )
    return binary_cross_entropy_with_logits(logits, wanted, weight=share) + 0.5 * (1 - overlap.mean())


@torch.inference_mode()
def agree_on_outlines(network: OutlineNetwork, films: np.ndarray, *, seed: int, views: int = 6) -> TaughtFilms:
    """Outline films by the consensus of several views of each.

    Args:
        films: uint8, shape (N, S, S).
        views: of each film.

    Returns:
        The films whose views agree on both lung fields, with their consensus; a pixel's share is low where the views
        differ.
    """
    generator = torch.Generator().manual_seed(seed)
    outlines = np.empty((len(films), 3, *films.shape[1:]), np.uint8)
    shares, agreed = np.empty_like(outlines), np.empty(len(films), bool)
    network.eval()
    for start in tqdm(range(0, len(films), 64), desc="consensus", unit="batch", mininterval=5):
        part = torch.from_numpy(films[start : start + 64]).float()[:, None] / 255
        found = torch.stack([_view(network, part, generator) for _ in range(views)])  # (V, B, 3, S, S)
        mean = found.mean(dim=0)
        stop = start + len(part)
        outlines[start:stop] = [clean_outlines(share) for share in mean.numpy()]
        sure = ((mean - torch.from_numpy(outlines[start:stop]).float()).abs() < 1 - SURE).float()
        shares[start:stop] = (avg_pool2d(sure, 3, stride=1, padding=1).numpy() * 255).astype(np.uint8)
        agreed[start:stop] = _overlaps(found, torch.from_numpy(outlines[start:stop])) >= AGREED
    return TaughtFilms(films[agreed], outlines[agreed], shares[agreed])


def _view(network: OutlineNetwork, images: Tensor, generator: torch.Generator) -> Tensor:
    """Outline one variation of each image, and move the probabilities back."""
    count = len(images)
    gamma = torch.exp(0.3 * torch.randn((count, 1, 1, 1), generator=generator))
    scale = torch.exp(0.10 * torch.randn(count, generator=generator))
    shift = 0.06 * torch.randn((count, 2), generator=generator)
    seen = images**gamma
    if torch.rand((), generator=generator) < 0.5:
        seen = avg_pool2d(seen, 3, stride=1, padding=1, count_include_pad=False)
    seen = grid_sample(seen, _grid(seen, scale, shift), padding_mode="border", align_corners=False)
    found = network(_as_input(seen)).float().sigmoid()
    return grid_sample(found, _grid(found, 1 / scale, -shift / scale[:, None]), align_corners=False)


def _grid(like: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    zero = torch.zeros_like(scale)
    rows = [torch.stack([scale, zero, shift[:, 0]], dim=1), torch.stack([zero, scale, shift[:, 1]], dim=1)]
    return affine_grid(torch.stack(rows, dim=1), [len(like), 1, *like.shape[-2:]], align_corners=False)


def _overlaps(found: Tensor, outlines: Tensor) -> np.ndarray:
    """The lowest Dice of a view's lung fields with the consensus, shape (B,); 0 where a field is empty."""
    views, wanted = found[:, :, :2] > 0.5, outlines[None, :, :2].bool()
    both = (views & wanted).sum(dim=(3, 4))
    dice = 2 * both / (views.sum(dim=(3, 4)) + wanted.sum(dim=(3, 4))).clamp(min=1)
    return dice.mean(dim=0).amin(dim=1).numpy()


def _as_input(images: Tensor) -> Tensor:
    return (images * 2 - 1).to(memory_format=torch.channels_last)


def _endless_batches(count: int, generator: torch.Generator) -> Iterator[np.ndarray]:
    size = min(BATCH_SIZE, count)
    while True:
        for rows in torch.randperm(count, generator=generator)[: count - count % size].split(size):
            yield rows.numpy()
