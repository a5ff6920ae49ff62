"""Train the judges of rendered radiographs, and mark them on patients that they were not trained on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, smooth_l1_loss
from tqdm import tqdm

from biomedjourney_monai import __version__
from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.evaluation.judges.domain import FeatureDomain
from biomedjourney_monai.evaluation.judges.loading import load_judges
from biomedjourney_monai.evaluation.judges.phantom import (
    AGE_SPREAD,
    CLASSIFIER_FILE,
    DOMAIN_FILE,
    JUDGE_SIZE,
    SEGMENTER_FILE,
    PhantomClassifier,
    PhantomSegmenter,
    save_weights,
)
from biomedjourney_monai.evaluation.judges.scores import Judges
from biomedjourney_monai.evaluation.metrics.auroc import compute_finding_aurocs, compute_group_aurocs
from biomedjourney_monai.evaluation.metrics.correlation import compute_pearson_r
from biomedjourney_monai.evaluation.metrics.dice import compute_structure_dice
from biomedjourney_monai.evaluation.metrics.labels import RACE_GROUPS
from biomedjourney_monai.files import write_json
from biomedjourney_monai.phantom.labelled import LabelledImages, draw_labelled
from biomedjourney_monai.radiographs import scale_intensity
from biomedjourney_monai.schema import FINDINGS, STRUCTURES
from biomedjourney_monai.training.judges.films import augment, read_films, to_batch

BATCH_SIZE = 32
PEAK_LEARNING_RATE = 2e-3
HELD_OUT_SHARE = 0.15
SEGMENTER_SHARE = 0.4
"""Steps of the segmenter, as a share of the classifier's."""

Network = TypeVar("Network", bound=nn.Module)
LossFunction = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]
"""Loss of a network on images (B, 1, H, W) and their rows (B,)."""


@dataclass(frozen=True)
class TrainedJudges:
    """The folder of the weights, how many patients they were trained and marked on, and the marks by name."""

    folder: Path
    trained_on: int
    held_out: int
    marks: dict[str, float]


def train_judges(
    out: str | Path = "judges",
    *,
    seed: int = 900001,
    images: int = 3200,
    steps: int = 1000,
    processes: int | None = None,
    films_of: str | Path | None = None,
) -> TrainedJudges:
    """Train a classifier (findings, group, age) and a segmenter on rendered patients that no cohort contains.

    Writes phantom_classifier.pt, phantom_domain.pt, phantom_segmenter.pt and phantom_judges.json. Same arguments, same
    weights.

    Args:
        out: folder for the weights.
        seed: of the patients and of the training.
        images: patients to render, one image each; at least 20, of which 15 % are held out.
        steps: optimiser steps of the classifier.
        processes: that render; None for all cores.
        films_of: working folder of a cohort of real films, to tell rendered images from; None for none.

    Raises:
        ConfigError: if a number is too small.
        TableError: as `read_films`.
    """
    if images < 20 or steps < 1 or (processes is not None and processes < 1):
        raise ConfigError(
            "--images must be >= 20, --steps and --processes >= 1", found=f"{images}, {steps} and {processes}"
        )
    folder = Path(out)
    data = draw_labelled(images, seed=seed, size=JUDGE_SIZE, processes=processes, with_masks=True)
    held_out = max(1, round(HELD_OUT_SHARE * images))
    train, test = data.rows(slice(held_out, None)), data.rows(slice(held_out))
    segmenter_steps = max(1, round(SEGMENTER_SHARE * steps))
    save_weights(train_classifier(train, steps=steps, seed=seed), folder / CLASSIFIER_FILE)
    save_weights(train_segmenter(train, steps=segmenter_steps, seed=seed), folder / SEGMENTER_FILE)
    judges = load_judges(folder)
    films = None if films_of is None else read_films(films_of, processes=processes)[0]["train"].images
    save_weights(fit_domain(judges, train.images, test.images, films), folder / DOMAIN_FILE)
    done = TrainedJudges(folder, len(train), len(test), mark_judges(judges, test))
    facts = {
        "command": f"biomedjourney train-judges --seed {seed} --images {images} --steps {steps}",
        "version": __version__,
        "trained_on": done.trained_on,
        "held_out": done.held_out,
        "held_out_marks": done.marks,
        "files": judges.provenance()["files"],
    }
    write_json(folder / "phantom_judges.json", facts)
    return done


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


def fit_domain(judges: Judges, train: np.ndarray, held_out: np.ndarray, films: np.ndarray | None) -> FeatureDomain:
    """The domain of judges of rendered images.

    Args:
        judges: whose features are taken.
        train: rendered images, uint8, shape (N, 128, 128).
        held_out: of other patients, for the limit.
        films: real films to tell them from, scaled to 0 to 255; None for none.
    """
    own, others = (_features(judges, normalise(images)) for images in (train, held_out))
    domain = FeatureDomain.fitted(own, others)
    if films is not None:
        domain.tell_apart(own, _features(judges, to_batch(films)))
    return domain


def _features(judges: Judges, images: Tensor) -> Tensor:
    return torch.cat([judges.features(batch) for batch in images.split(64)])


def normalise(images: np.ndarray) -> Tensor:
    """Scale stored images as `radiographs.load_radiograph` does: (N, H, W) uint8 to (N, 1, H, W) in [0, 1]."""
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


def _train(
    network: Network, data: LabelledImages, loss_on: LossFunction, *, steps: int, seed: int, title: str
) -> Network:
    images = normalise(data.images)
    network.to(memory_format=torch.channels_last).train()
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


def _forward(network: nn.Module, images: Tensor) -> Any:
    images = (images * 2 - 1).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):  # half the time of float32
        return network(images)


def _batches(rows: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Shuffle endlessly; rows that do not fill the last batch of a shuffle are left out of it."""
    size = min(BATCH_SIZE, rows)
    while True:
        yield from torch.randperm(rows, generator=generator)[: rows - rows % size].split(size)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed initialisation and dropout, which use the global generator, and restore its state afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
