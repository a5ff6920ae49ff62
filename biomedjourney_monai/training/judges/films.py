"""Read a cohort's films, vary them, and train a classifier, with averaged weights; an interrupted training resumes."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from torch import Tensor, nn
from torch.nn.functional import (
    affine_grid,
    binary_cross_entropy_with_logits,
    conv2d,
    cross_entropy,
    grid_sample,
    pad,
    smooth_l1_loss,
)
from tqdm import tqdm

from biomedjourney_monai.errors import ImageError, TableError, WeightsError
from biomedjourney_monai.evaluation.judges.film_classifier import SEEN_SIZE, FilmClassifier, load_imagenet
from biomedjourney_monai.evaluation.judges.phantom import AGE_SPREAD, JUDGE_SIZE
from biomedjourney_monai.evaluation.metrics.labels import apply_label_policy, male_sex, race_group
from biomedjourney_monai.files import read_table, written_atomically
from biomedjourney_monai.preparation.parallel import Workers, map_in_processes
from biomedjourney_monai.radiographs import load_radiograph
from biomedjourney_monai.schema import CHEXPERT_LABELS, FINDINGS, SPLITS, STUDIES_FILE, STUDY_COLUMNS

ROTATION_DEGREES = 5.0
LOG_SCALE = 0.10
SHIFT = 0.06  # of the image's side
BLUR_SIGMA_PX = 1.0
NOISE = 0.03  # of the full range
LOG_GAMMA = 0.2


def augment(
    images: Tensor, masks: Tensor | None = None, *, generator: torch.Generator, strength: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Vary images as registration and generation do.

    Args:
        images: shape (B, 1, H, W) in [0, 1].
        masks: shape (B, C, H, W), moved with the images; None for none.
        generator: the source of all randomness.
        strength: factor on the size of the moves and on the change of exposure.

    Returns:
        Images in [0, 1] and masks, same shapes; empty masks for None.
    """
    grid = _random_affine(images, generator, strength)
    images = grid_sample(images, grid, padding_mode="zeros", align_corners=False)
    masks = images.new_empty(0) if masks is None else masks
    if len(masks):
        masks = grid_sample(masks.float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    images = _blur(images, generator)
    black = images <= 1e-4  # collimation and wedges stay black at any exposure
    images = images.clamp(0, 1) ** torch.exp(strength * LOG_GAMMA * _normal(images, generator))
    images = images * (1 + 0.06 * _normal(images, generator)) + 0.03 * _normal(images, generator)
    amount = NOISE * _uniform(images, generator) * (_uniform(images, generator) < 0.5)
    images = images + amount * torch.randn(images.shape, generator=generator)
    return torch.where(black, 0, images.clamp(0, 1)), masks


def _random_affine(images: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    """Draw a similarity transform per image, none for a fifth of them; returns the sampling grid, (B, H, W, 2)."""
    moves = strength * (torch.rand(len(images), generator=generator) < 0.8).float()
    angle = moves * math.radians(ROTATION_DEGREES) * torch.randn(len(images), generator=generator) / 1.5
    scale = torch.exp(moves * LOG_SCALE * torch.randn(len(images), generator=generator) / 1.5)
    shift = 2 * SHIFT * moves[:, None] * torch.randn((len(images), 2), generator=generator) / 1.5
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = [torch.stack([cos, -sin, shift[:, 0]], dim=1), torch.stack([sin, cos, shift[:, 1]], dim=1)]
    return affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)


def _blur(images: Tensor, generator: torch.Generator) -> Tensor:
    """Blur half of the images with a Gaussian of up to BLUR_SIGMA_PX."""
    drawn = torch.rand((2, len(images)), generator=generator)
    sigma = BLUR_SIGMA_PX * drawn[0] * (drawn[1] < 0.5) + 1e-3
    taps = torch.arange(-3, 4).float()
    kernel = torch.exp(-0.5 * (taps / sigma[:, None]) ** 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)  # (B, 7)
    batch = pad(images.transpose(0, 1), (3, 3, 3, 3), mode="replicate")  # (1, B, H + 6, W + 6): one group per image
    batch = conv2d(batch, kernel[:, None, None, :], groups=len(images))
    return conv2d(batch, kernel[:, None, :, None], groups=len(images)).transpose(0, 1)


def _uniform(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand((len(images), 1, 1, 1), generator=generator)


def _normal(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn((len(images), 1, 1, 1), generator=generator)


BATCH_SIZE = 32
PEAK_LEARNING_RATE = 1e-3
PRETRAINED_LEARNING_RATE = 5e-4
WEIGHT_DECAY = 0.05
SMOOTHING = 0.02
"""Labels are mined from reports and noisy: 1 counts as 0.98, 0 as 0.02."""

OTHER_LABELS = 0.5
"""Weight of a label that is not among the five findings; those are learned for the features' sake."""

SMALL_SIZE, SMALL_SHARE = 128, 0.6
"""The first steps see smaller images, which is 1.6 times as fast."""

AVERAGED_STEPS = 400
AUGMENTATION = 1.5
SAVE_EVERY = 500


@dataclass(frozen=True)
class Films:
    """N films with what is known of them.

    Attributes:
        images: uint8, shape (N, 128, 128), scaled as `radiographs.scale_intensity` does, 255 for 1.
        labels: 1, 0 or NaN for unknown, float32, shape (N, 14), in the order of `schema.CHEXPERT_LABELS`.
        sex: 1 male, 0 female, NaN unknown, float32, shape (N,).
        group: index in RACE_GROUPS or NaN, float32, shape (N,).
        age: years or NaN, float32, shape (N,).
    """

    images: np.ndarray
    labels: np.ndarray
    sex: np.ndarray
    group: np.ndarray
    age: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, chosen: np.ndarray | slice) -> "Films":
        """Give some of the rows."""
        return replace(self, **{name: values[chosen] for name, values in vars(self).items()})


def to_batch(images: np.ndarray) -> Tensor:
    """Images of `Films` as networks take them: uint8 (N, H, W) to float32 (N, 1, H, W) in [0, 1]."""
    return torch.from_numpy(images)[:, None].float() / 255


def film_loss(outputs: tuple[Tensor, ...], films: Films) -> Tensor:
    """Cross-entropy of labels, sex and group, and the error of age; what is unknown has no part in it."""
    labels, sex, group, age = outputs
    weights = torch.tensor([1.0 if name in FINDINGS else OTHER_LABELS for name in CHEXPERT_LABELS])
    truth = [torch.from_numpy(values) for values in (films.labels, films.sex, films.group, films.age)]
    known = [torch.isfinite(values) for values in truth]
    soft = truth[0].nan_to_num() * (1 - 2 * SMOOTHING) + SMOOTHING
    errors = binary_cross_entropy_with_logits(labels, soft, reduction="none")
    loss = (errors * known[0] * weights).sum() / len(films)
    if known[1].any():
        loss = loss + binary_cross_entropy_with_logits(sex[known[1]], truth[1][known[1]])
    if known[2].any():
        loss = loss + cross_entropy(group[known[2]], truth[2][known[2]].long())
    if known[3].any():
        loss = loss + 2 * smooth_l1_loss(age[known[3]] / AGE_SPREAD, truth[3][known[3]] / AGE_SPREAD, beta=0.5)
    return loss


def train_films(
    films: Films,
    *,
    steps: int,
    seed: int,
    imagenet: str | Path | None = None,
    checkpoint: Path | None = None,
    watch: Callable[[FilmClassifier, int], None] | None = None,
) -> FilmClassifier:
    """Train on all films; same films, seed and steps give the same weights.

    Args:
        films: of the training patients.
        steps: optimiser steps, of 32 films each.
        seed: of initialisation, order, dropout and augmentation.
        imagenet: file of `load_imagenet` that the backbone starts from; None for random weights.
        checkpoint: file that the state is saved to every 500 steps, and resumed from; None for none.
        watch: called with the averaged network and the step when a state is saved.

    Returns:
        The average of the weights over about the last 400 steps, in evaluation mode.

    Raises:
        WeightsError: if the checkpoint is of another training, or as `load_imagenet`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _Training(films, steps, seed, imagenet, checkpoint, watch).run()


class _Training:
    """Network, its average, optimiser and order of the films: what a checkpoint holds."""

    def __init__(
        self,
        films: Films,
        steps: int,
        seed: int,
        imagenet: str | Path | None,
        checkpoint: Path | None,
        watch: Callable[[FilmClassifier, int], None] | None,
    ) -> None:
        self.films, self.steps, self.checkpoint, self.watch = films, steps, checkpoint, watch
        self.network, self.average, self.step = FilmClassifier().train(), FilmClassifier().eval(), 0
        self.imagenet = imagenet is not None
        if imagenet is not None:
            load_imagenet(self.network, imagenet)
        peak = PEAK_LEARNING_RATE if imagenet is None else PRETRAINED_LEARNING_RATE
        self.average.load_state_dict(self.network.state_dict())
        self.network.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), peak, weight_decay=WEIGHT_DECAY)
        self.lr_scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, peak, total_steps=max(steps, 2) + 1, pct_start=0.1
        )
        self.generator = torch.Generator().manual_seed(seed)
        self.seed = seed

    def run(self) -> FilmClassifier:
        self._resume()
        batches = self._batches(self.step)
        with tqdm(range(self.step, self.steps), desc="classifier", unit="step", mininterval=10) as bar:
            for _ in bar:
                loss = self._take_step(next(batches))
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                if self.step % SAVE_EVERY == 0 or self.step == self.steps:
                    self._save()
        return self.average

    def _take_step(self, rows: np.ndarray) -> float:
        films = self.films.rows(rows)
        images = to_batch(films.images)
        self.network.seen_size = SMALL_SIZE if self.step < SMALL_SHARE * self.steps else SEEN_SIZE
        images, _ = augment(images, generator=self.generator, strength=AUGMENTATION)
        outputs = self.network(images * 2 - 1)
        loss = film_loss(outputs, films)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.lr_scheduler.step()
        self.step += 1
        self._update_average()
        return loss.item()

    @torch.no_grad()
    def _update_average(self) -> None:
        kept = min(1 - 1 / AVERAGED_STEPS, self.step / (self.step + 10))
        for mine, new in zip(self.average.state_dict().values(), self.network.state_dict().values()):
            if mine.is_floating_point():
                mine.lerp_(new, 1 - kept)
            else:
                mine.copy_(new)

    def _batches(self, done: int) -> Iterator[np.ndarray]:
        """Rows of each step, shuffled per pass by seed and pass, from the step `done` on."""
        size = min(BATCH_SIZE, len(self.films))
        per_pass = len(self.films) // size
        for number in range(done // per_pass, math.ceil(self.steps / per_pass)):
            order = np.random.default_rng((self.seed, number)).permutation(len(self.films))
            batches = order[: per_pass * size].reshape(per_pass, size)
            yield from batches[done % per_pass if number == done // per_pass else 0 :]

    def _save(self) -> None:
        if self.watch is not None:
            self.watch(self.average, self.step)
        if self.checkpoint is None:
            return
        parts = ("network", "average", "optimizer", "lr_scheduler")
        state: dict[str, Any] = {name: getattr(self, name).state_dict() for name in parts}
        state |= {
            "settings": self._settings(),
            "step": self.step,
            "random": (self.generator.get_state(), torch.get_rng_state()),
        }
        with written_atomically(self.checkpoint) as temporary:
            torch.save(state, temporary)

    def _settings(self) -> dict[str, int]:
        return {"films": len(self.films), "seed": self.seed, "steps": self.steps, "imagenet": self.imagenet}

    def _resume(self) -> None:
        if self.checkpoint is None or not self.checkpoint.is_file():
            return
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        if state["settings"] != self._settings():
            raise WeightsError(
                f"{self.checkpoint} must be of a training with these films, seed and steps",
                found="one of another training",
                action="Delete it to start again",
            )
        for name in ("network", "average", "optimizer", "lr_scheduler"):
            getattr(self, name).load_state_dict(state[name])
        self.step = state["step"]
        self.generator.set_state(state["random"][0])
        torch.set_rng_state(state["random"][1])


def read_films(work: str | Path, *, processes: int | None = None) -> tuple[dict[str, Films], dict[str, int]]:
    """Read the films of every study, scaled as a model sees them, with their labels.

    A label that the cohort never names is unknown throughout; where it is named for others, unmentioned is absent.

    Returns:
        Split -> films; and how many could not be read, by reason.

    Raises:
        TableError: if studies.parquet is missing or unusable, or has no readable film to train or to validate on.
    """
    studies = read_table(Path(work) / STUDIES_FILE, columns=STUDY_COLUMNS, made_by="cohort")
    workers = Workers.of(processes)
    read = map_in_processes(
        _read, studies["image_path"].tolist(), processes=workers.processes, title="films", unit="image"
    )
    images = np.zeros((len(studies), JUDGE_SIZE, JUDGE_SIZE), np.uint8)
    reasons: Counter[str] = Counter()
    good = np.ones(len(studies), bool)
    for place, image in enumerate(read):
        if isinstance(image, str):
            reasons[image] += 1
            good[place] = False
        else:
            images[place] = image
    films = _films(studies, images)
    splits = {split: films.rows((studies["split"] == split).to_numpy() & good) for split in SPLITS}
    for split in ("train", "validate"):
        if not len(splits[split]):
            raise TableError(
                f"{Path(work) / STUDIES_FILE} must hold readable films of the split {split}",
                found=f"{len(studies)} studies, of which unreadable: {dict(reasons)}",
                action="Run `biomedjourney cohort` with more patients",
            )
    return splits, dict(reasons)


def _read(path: str) -> np.ndarray | str:
    """One image as uint8, shape (128, 128), or the reason why not."""
    try:
        return np.round(load_radiograph(path, size=JUDGE_SIZE) * 255).astype(np.uint8)
    except ImageError as error:
        return error.reason


def _films(studies: pandas.DataFrame, images: np.ndarray) -> Films:
    stated = studies[list(CHEXPERT_LABELS)].to_numpy(np.float64)
    labels = np.where((stated == 1).any(axis=0), apply_label_policy(stated), np.nan)
    groups = [race_group(race) for race in studies["race"]]
    age = studies["age_at_study"].fillna(studies["anchor_age"])
    return Films(
        images,
        labels.astype(np.float32),
        male_sex(studies["sex"]).astype(np.float32),
        np.array([np.nan if group is None else group for group in groups], np.float32),
        age.to_numpy(np.float32),
    )
