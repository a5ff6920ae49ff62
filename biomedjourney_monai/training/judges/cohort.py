"""Train the judges of a cohort's films: on its training patients, calibrated on its validation patients."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from biomedjourney_monai import __version__
from biomedjourney_monai.configuration import locate_root
from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.evaluation.judges.domain import FeatureDomain
from biomedjourney_monai.evaluation.judges.film_classifier import (
    FINDING_COLUMNS,
    FilmClassifier,
    FilmJudges,
    load_film_judges,
)
from biomedjourney_monai.evaluation.judges.loading import AUTO, PHANTOM, XRV
from biomedjourney_monai.evaluation.judges.lung_outlines import LUNG_OUTLINES_FILE
from biomedjourney_monai.evaluation.judges.phantom import (
    JUDGE_SIZE,
    SEGMENTER_FILE,
    classifier_file,
    domain_file,
    save_weights,
)
from biomedjourney_monai.evaluation.judges.scores import Judges
from biomedjourney_monai.evaluation.metrics.auroc import compute_auroc, compute_finding_aurocs, compute_group_aurocs
from biomedjourney_monai.evaluation.metrics.correlation import compute_pearson_r
from biomedjourney_monai.evaluation.metrics.labels import RACE_GROUPS
from biomedjourney_monai.evaluation.metrics.row_metric import known_mean
from biomedjourney_monai.files import write_json
from biomedjourney_monai.phantom.labelled import draw_labelled
from biomedjourney_monai.schema import FINDINGS
from biomedjourney_monai.training.judges.films import Films, read_films, to_batch, train_films

BINS = 10


def even_weights(labels: np.ndarray) -> np.ndarray:
    """Weights of labels 1, 0 or NaN, shape (N,), by which both classes weigh one half and NaN nothing."""
    weights = np.zeros(len(labels))
    for kind in (0, 1):
        weights[labels == kind] = 0.5 / max(1, (labels == kind).sum())
    return weights


def fit_platt(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Fit slope and offset of logits, shape (N,), to labels 1, 0 or NaN, both classes at equal weight.

    Returns:
        Slope > 0 and offset; (1, 0) where there is one class only, or the logits rank no better than chance.

    Source: Platt 1999, Probabilistic outputs for support vector machines.
    """
    known = np.isfinite(labels) & np.isfinite(logits)
    if len(np.unique(labels[known])) < 2:
        return 1.0, 0.0
    x, y, weights = (torch.as_tensor(v[known]).double() for v in (logits, labels, even_weights(labels)))
    parameters = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        fitted = parameters[0] * x + parameters[1]
        loss = (weights * binary_cross_entropy_with_logits(fitted, y, reduction="none")).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    slope, offset = parameters.detach().tolist()
    return (slope, offset) if slope > 0 and np.isfinite(offset) else (1.0, 0.0)


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The mean distance of probability from frequency over ten equal bins, at even odds; NaN with one class only."""
    known = np.isfinite(labels) & np.isfinite(probabilities)
    if len(np.unique(labels[known])) < 2:
        return float("nan")
    weights = even_weights(np.where(known, labels, np.nan))[known]
    bins = np.clip((probabilities[known] * BINS).astype(int), 0, BINS - 1)
    gaps = np.bincount(bins, weights * (probabilities[known] - labels[known]), minlength=BINS)
    return float(np.abs(gaps).sum())


BATCH = 64
RENDERED = 900
"""Rendered images to tell the films from."""

FEWEST = 20
"""Films with, and without, a label that its calibration needs."""

FITTED_ON = 2000
"""About so many training films fit the domain."""

TOLD_APART = 0.8
"""Films inside minus rendered images inside, as shares, below which the films count as rendered themselves."""

CHECKPOINT = "{}_classifier.checkpoint.pt"


@dataclass(frozen=True)
class CohortJudges:
    """The folder of the weights, the content of NAME_judges.json, and how many films could not be read, by reason."""

    folder: Path
    facts: dict[str, Any]
    unreadable: dict[str, int]


def train_cohort_judges(
    work: str | Path,
    out: str | Path = "judges",
    *,
    name: str = "films",
    seed: int = 0,
    steps: int = 2500,
    imagenet: str | Path | None = None,
    processes: int | None = None,
) -> CohortJudges:
    """Train a classifier (findings, sex, group, age) on a cohort's training patients, calibrate it and measure it.

    Writes NAME_classifier.pt, NAME_domain.pt, NAME_judges.json, and the bundle's phantom_segmenter.pt and
    lung_outlines.pt where the folder has none. An interrupted training continues from NAME_classifier.checkpoint.pt.
    Same arguments, same weights.

    Args:
        work: working folder with studies.parquet; splits train and validate are needed, test is measured too.
        out: folder for the weights.
        name: of the judges, in lower case, digits and "_".
        seed: of the training.
        steps: optimiser steps of 32 films.
        imagenet: weights of ImageNet to start from, `film_classifier.IMAGENET_FILE`; None for random weights.
        processes: that read images; None for all cores.

    Raises:
        ConfigError: if a setting cannot be used.
        TableError: as `read_films`.
        WeightsError: as `load_imagenet`, or if the checkpoint is of another training.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in (AUTO, PHANTOM, XRV):
        raise ConfigError("--name must be lower case, digits and _, and not auto, phantom or xrv", found=name)
    if steps < 1:
        raise ConfigError("--steps must be >= 1", found=str(steps))
    films, unreadable = read_films(work, processes=processes)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / CHECKPOINT.format(name)
    network = train_films(films["train"], steps=steps, seed=seed, imagenet=imagenet, checkpoint=checkpoint)
    rendered = draw_labelled(RENDERED, seed=seed, size=JUDGE_SIZE, processes=processes).images
    facts = finish_judges(network, films, rendered, folder, name=name)
    start = "" if imagenet is None else f" --imagenet {Path(imagenet).name}"
    facts |= {"command": f"biomedjourney train-judges --work WORK --name {name} --seed {seed} --steps {steps}{start}"}
    write_json(folder / f"{name}_judges.json", facts)
    checkpoint.unlink(missing_ok=True)
    return CohortJudges(folder, facts, unreadable)


def finish_judges(
    network: FilmClassifier, films: dict[str, Films], rendered: np.ndarray, folder: Path, *, name: str
) -> dict[str, Any]:
    """Calibrate a trained network, fit its domain, write both, and measure the judges as they are loaded again.

    Args:
        network: trained on the films of the split train.
        films: by split.
        rendered: uint8, shape (N, 128, 128), rendered images to tell the films from; the last third is held out.
        folder: for the files.
        name: of the judges.

    Returns:
        The content of NAME_judges.json.
    """
    network.knows_groups.fill_(bool(np.isfinite(films["train"].group).any()))
    calibrate(network, films)
    save_weights(network, folder / classifier_file(name))
    domain = fit_domain(network, films, rendered[: len(rendered) * 2 // 3])
    save_weights(domain, folder / domain_file(name))
    for file in (SEGMENTER_FILE, LUNG_OUTLINES_FILE):
        if not (folder / file).is_file():
            shutil.copyfile(Path(locate_root()) / "models" / file, folder / file)
    judges = load_film_judges(folder, name)
    return {
        "version": __version__,
        "files": judges.provenance()["files"],
        "films": {split: len(rows) for split, rows in films.items()},
        "base_rates": base_rates(films["train"]),
        "performance": {split: measure_judges(judges, films[split]) for split in ("validate", "test")},
        "domain": {
            "tells_apart": domain.tells_apart,
            **{f"{split} inside": _inside(judges, films[split].images) for split in ("validate", "test")},
            "rendered inside": _inside(judges, rendered[len(rendered) * 2 // 3 :]),
        },
    }


def base_rates(films: Films) -> dict[str, float]:
    """Share of films with each finding, of those of which it is known; findings of which it never is are left out."""
    labels = dict(zip(FINDINGS, films.labels[:, FINDING_COLUMNS].T))
    known = {finding: column[np.isfinite(column)] for finding, column in labels.items()}
    return {finding: round(float(column.mean()), 4) for finding, column in known.items() if len(column)}


def fit_domain(network: FilmClassifier, films: dict[str, Films], rendered: np.ndarray) -> FeatureDomain:
    """The domain of a network's features; it tells rendered images apart, unless the films are rendered themselves."""
    some = films["train"].images[:: max(1, len(films["train"]) // FITTED_ON)]
    train, validate, drawn = (_features(network, i) for i in (some, films["validate"].images, rendered))
    domain = FeatureDomain.fitted(train, validate)
    domain.tell_apart(train, drawn)
    found = (torch.exp(-domain.logit(features)) <= 1 for features in (validate, drawn))
    kept, taken = (float(inside.float().mean()) for inside in found)
    if kept - taken < TOLD_APART:
        domain.direction.zero_()
    return domain


def _inside(judges: FilmJudges, images: np.ndarray) -> float | None:
    """Share of images inside the judges' domain; None without images."""
    inside = [judges.distance(batch) <= 1 for batch in _batches(images)]
    return round(float(torch.cat(inside).float().mean()), 4) if inside else None


def calibrate(network: FilmClassifier, films: dict[str, Films]) -> None:
    """Set the network's calibration of labels and sex by validation films.

    A label that too few of them have, or have not, is calibrated on validation and training films together.
    """
    network.calibration.copy_(torch.tensor([[1.0], [0.0]]))
    logits, truth = _logits(network, films["validate"])
    rare = (np.minimum((truth == 1).sum(axis=0), (truth == 0).sum(axis=0)) < FEWEST) & np.isfinite(truth).any(axis=0)
    more = _logits(network, films["train"]) if rare.any() else (logits[:0], truth[:0])
    fits = []
    for column in range(truth.shape[1]):
        parts = [(logits, truth), more] if rare[column] else [(logits, truth)]
        fits.append(fit_platt(*(np.concatenate([part[kind][:, column] for part in parts]) for kind in (0, 1))))
    network.calibration.copy_(torch.tensor(fits).T)


@torch.inference_mode()
def _logits(network: FilmClassifier, films: Films) -> tuple[np.ndarray, np.ndarray]:
    """Logits of labels and of male sex, and the truth, shape (N, 15) each."""
    outputs = [network(batch * 2 - 1) for batch in _batches(films.images)]
    logits = torch.cat([torch.cat([labels, sex[:, None]], dim=1) for labels, sex, _, _ in outputs])
    return logits.numpy(), np.column_stack([films.labels, films.sex])


def measure_judges(judges: Judges, films: Films) -> dict[str, float]:
    """AUROC of findings, sex and groups, r and error of age in years; each finding's calibration error and films."""
    if not len(films):
        return {}
    scores = [judges.score(batch) for batch in _batches(films.images)]
    pathology, race, age, sex = (
        np.concatenate([getattr(score, part).numpy() for score in scores]).astype(np.float64)
        for part in ("pathology", "race", "age", "sex")
    )
    labels = films.labels[:, FINDING_COLUMNS].astype(np.float64)
    aurocs = compute_finding_aurocs(pathology, labels)
    marks = {f"auroc {finding}": value for finding, value in zip(FINDINGS, aurocs)}
    marks |= {"auroc of findings": known_mean(aurocs), "auroc sex": compute_auroc(sex, films.sex.astype(np.float64))}
    groups = compute_group_aurocs(race, films.group.astype(np.float64))
    marks |= {f"auroc group {group}": value for group, value in zip(RACE_GROUPS, groups)}
    known = np.isfinite(films.age)
    marks |= {
        "age r": compute_pearson_r(age, films.age.astype(np.float64)),
        "age error": np.abs(age[known] - films.age[known]).mean() if known.any() else np.nan,
    }
    for column, finding in enumerate(FINDINGS):
        marks[f"calibration error {finding}"] = calibration_error(pathology[:, column], labels[:, column])
        marks[f"positives {finding}"] = (labels[:, column] == 1).sum()
    return {mark: round(float(value), 4) for mark, value in marks.items() if np.isfinite(value)}


@torch.inference_mode()
def _features(network: FilmClassifier, images: np.ndarray) -> Tensor:
    return torch.cat([network.features(batch * 2 - 1) for batch in _batches(images)])


def _batches(images: np.ndarray) -> Iterator[Tensor]:
    """Images (N, 128, 128) in batches that networks take."""
    yield from (to_batch(images[start : start + BATCH]) for start in range(0, len(images), BATCH))
