"""Training of the judges for rendered radiographs, and their marks on patients they never saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, smooth_l1_loss
from tqdm import tqdm

from biomedjourney_monai.evaluation.judges.networks import AGE_SPREAD, PhantomClassifier, PhantomSegmenter
from biomedjourney_monai.evaluation.judges.scores import Judges
from biomedjourney_monai.evaluation.metrics.auroc import compute_finding_aurocs, compute_group_aurocs
from biomedjourney_monai.evaluation.metrics.correlation import compute_pearson_r
from biomedjourney_monai.evaluation.metrics.dice import compute_structure_dice
from biomedjourney_monai.evaluation.metrics.labels import RACE_GROUPS
from biomedjourney_monai.radiographs import scale_intensity
from biomedjourney_monai.schema import FINDINGS, STRUCTURES
from biomedjourney_monai.training.judges.augmentation import augment

BATCH_SIZE = 32
PEAK_LEARNING_RATE = 2e-3


@dataclass(frozen=True)
class LabelledImages:
    """Rendered radiographs with their truth, one image per patient.

    Attributes:
        images: uint8 as a file holds them, shape (N, H, W).
        labels: 1 or 0 for each finding of `schema.FINDINGS`, shape (N, 5).
        group: index in RACE_GROUPS, shape (N,).
        age: years, shape (N,).
        masks: bool, in the order of `schema.STRUCTURES`, shape (N, 6, H, W).
    """

    images: np.ndarray
    labels: np.ndarray
    group: np.ndarray
    age: np.ndarray
    masks: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, chosen: slice) -> LabelledImages:
        """Give some of the rows."""
        return replace(self, **{name: value[chosen] for name, value in vars(self).items()})


def train_classifier(data: LabelledImages, *, steps: int, seed: int) -> PhantomClassifier:
    """Train the heads for findings, group and age; same data, seed and steps give the same weights."""
    labels, group = torch.as_tensor(data.labels).float(), torch.as_tensor(data.group).long()
    age = torch.as_tensor(data.age).float()

    def loss_on(network: nn.Module, images: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
        images, _ = augment(images, generator=generator)
        findings, groups, years = _forward(network, images)
        return (
            binary_cross_entropy_with_logits(findings.float(), labels[rows]) * labels.shape[1]
            + cross_entropy(groups.float(), group[rows])
            + smooth_l1_loss(years.float() / AGE_SPREAD, age[rows] / AGE_SPREAD, beta=0.5)
        )

    with _seeded(seed):
        return _train(PhantomClassifier(), data, loss_on, steps=steps, seed=seed, title="classifier")


def train_segmenter(data: LabelledImages, *, steps: int, seed: int) -> PhantomSegmenter:
    """Train the outlines of the six structures; same data, seed and steps give the same weights."""
    masks = torch.as_tensor(data.masks)

    def loss_on(network: nn.Module, images: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
        images, wanted = augment(images, masks[rows], generator=generator)
        logits = _forward(network, images).float()
        found = logits.sigmoid()
        overlap = 2 * (found * wanted).sum(dim=(0, 2, 3)) / (found.sum(dim=(0, 2, 3)) + wanted.sum(dim=(0, 2, 3)) + 1)
        return binary_cross_entropy_with_logits(logits, wanted) + 0.5 * (1 - overlap.mean())

    with _seeded(seed):
        return _train(PhantomSegmenter(), data, loss_on, steps=steps, seed=seed, title="segmenter")


def normalise(images: np.ndarray) -> Tensor:
    """Bring stored images to what `radiographs.load_radiograph` gives: (N, H, W) uint8 to (N, 1, H, W) in [0, 1]."""
    whole = np.ones(images.shape[1:], bool)
    return torch.from_numpy(np.stack([scale_intensity(image.astype(np.float32), whole) for image in images]))[:, None]


def mark_judges(judges: Judges, data: LabelledImages) -> dict[str, float]:
    """Score judges against the truth of images that they were not trained on."""
    pathology, race, age, dice = [], [], [], []
    for start in range(0, len(data), 64):
        part = data.rows(slice(start, start + 64))
        scores = judges.score(normalise(part.images))
        pathology.append(scores.pathology.numpy())
        race.append(scores.race.numpy())
        age.append(scores.age.numpy())
        dice.append(compute_structure_dice(scores.structures, torch.as_tensor(part.masks)).numpy())
    findings = compute_finding_aurocs(np.concatenate(pathology), data.labels.astype(np.float64))
    groups = compute_group_aurocs(np.concatenate(race), data.group.astype(np.float64))
    overlap = np.nanmean(np.concatenate(dice), axis=0)
    marks = {f"auroc {name}": value for name, value in zip(FINDINGS, findings)}
    marks |= {"auroc of findings": findings.mean()}
    marks |= {f"auroc group {name}": value for name, value in zip(RACE_GROUPS, groups)}
    marks |= {"auroc of groups": groups.mean(), "age r": compute_pearson_r(np.concatenate(age), data.age)}
    marks |= {f"dice {name}": value for name, value in zip(STRUCTURES, overlap)}
    return {name: float(value) for name, value in (marks | {"dice": overlap.mean()}).items()}


def _train(network: nn.Module, data: LabelledImages, loss_on: Callable, *, steps: int, seed: int, title: str):
    images = normalise(data.images)
    network = network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_LEARNING_RATE, weight_decay=0.02)
    lr_scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_LEARNING_RATE, total_steps=max(steps, 2), pct_start=0.1
    )
    generator = torch.Generator().manual_seed(seed)
    batches = _batches(len(data), generator)
    with tqdm(range(steps), desc=title, unit="step") as bar:
        for _ in bar:
            rows = next(batches)
            loss = loss_on(network, images[rows], rows, generator)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            lr_scheduler.step()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    return network.to(memory_format=torch.contiguous_format).eval()


def _forward(network: nn.Module, images: Tensor):
    images = (images * 2 - 1).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):  # half the time of float32
        return network(images)


def _batches(rows: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Shuffle without end; the rest of a round that fills no batch waits for the next shuffle."""
    size = min(BATCH_SIZE, rows)
    while True:
        yield from torch.randperm(rows, generator=generator)[: rows - rows % size].split(size)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed initialisation and dropout, which know only the global generator, and leave that as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
