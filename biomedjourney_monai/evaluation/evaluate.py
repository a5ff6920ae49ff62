"""The stage `evaluate`: score the counterfactuals of a working folder, and write metrics.json and scores.parquet."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas

from biomedjourney_monai.errors import ConfigError, ImageError, refuse_unknown_keywords, require_at_least
from biomedjourney_monai.evaluation.comparison import compare_systems
from biomedjourney_monai.evaluation.journeys import EvaluationSettings
from biomedjourney_monai.evaluation.judges.feature_bank import INCEPTION_FILE, InceptionFeatures
from biomedjourney_monai.evaluation.judges.loading import AUTO, choose_judges
from biomedjourney_monai.evaluation.probes import probe_journeys
from biomedjourney_monai.evaluation.systems.asked_findings import read_asked_findings
from biomedjourney_monai.evaluation.systems.scoring import SCORES_FILE
from biomedjourney_monai.evaluation.systems.sources import (
    COUNTERFACTUAL,
    CopyPrior,
    RealReference,
    System,
    read_baselines,
    read_picture,
    read_system,
)
from biomedjourney_monai.evaluation.systems.true_counterfactuals import TrueCounterfactuals
from biomedjourney_monai.files import read_table, write_json, write_table
from biomedjourney_monai.model_config import ModelConfig
from biomedjourney_monai.output_check import refuse_unwritable_results
from biomedjourney_monai.schema import METRICS_FILE, PAIRS_FILE

OWN_SYSTEMS = (CopyPrior.name, COUNTERFACTUAL, RealReference.name, TrueCounterfactuals.name)


@dataclass(frozen=True)
class Evaluation:
    """The content of metrics.json, the judges' scores of each journey and system, and the files that hold them."""

    metrics: dict[str, Any]
    scores: pandas.DataFrame
    metrics_file: Path
    scores_file: Path


@refuse_unknown_keywords
def evaluate(
    work: str | Path,
    *,
    split: str = "test",
    bootstrap: int = 1000,
    seed: int = 0,
    limit: int = 0,
    uncertain: str = "mask",
    unmentioned: str = "negative",
    judges: str = AUTO,
    judge_weights: str | Path | None = None,
    xrv_classifier: str = "chex",
    images: Mapping[str, str | Path] | None = None,
    truth: str | Path | None = None,
    training_targets: int = 0,
    probes: int = 0,
    probe_batch: int = 16,
    steps: int | None = None,
    precision: str | None = None,
    model: ModelConfig | None = None,
) -> Evaluation:
    """Score the samples of a working folder, the copied prior and the real next image with frozen judges.

    Args:
        work: working folder with pairs.parquet, images/ and, for the model, samples/.
        split, limit: which journeys, and at most how many, 0 for all.
        bootstrap, seed: replicates behind each interval, drawn over patients, and their seed.
        uncertain, unmentioned: what labels of these kinds count as: "mask", "positive" or "negative".
        judges, judge_weights, xrv_classifier: `kind`, `folder` and `trained_on` of `choose_judges`.
        images: name -> folder of another system's images, named by journey.
        truth: folder of true counterfactuals of rendered patients.
        training_targets: how many images of training journeys to look for copies of.
        probes, probe_batch: how many journeys to probe with the model, and how many at once.
        steps, precision, model: of the probes; None for the configuration's and for the shipped model.

    Raises:
        BiomedJourneyError: if a setting, a table, weights or a system's folder cannot be used.
    """
    require_at_least(0, bootstrap=bootstrap, limit=limit, seed=seed, training_targets=training_targets, probes=probes)
    require_at_least(1, probe_batch=probe_batch, steps=steps)
    work, settings = Path(work), EvaluationSettings(split, bootstrap, seed, uncertain, unmentioned, limit)
    refuse_unwritable_results(work, SCORES_FILE, METRICS_FILE)
    chosen, choice = choose_judges(work, judge_weights, kind=judges, trained_on=xrv_classifier)
    size = _image_size(work)
    metrics, scores = compare_systems(
        work,
        chosen,
        settings=settings,
        others=_other_systems(work, images or {}, size=size),
        asked=read_asked_findings(work),
        truth=None if truth is None else TrueCounterfactuals(Path(truth), size=size).checked(),
        imagenet=_imagenet_features(judge_weights),
        targets=training_targets,
    )
    metrics["judges_chosen"] = choice
    if probes:
        metrics["probes"] = probe_journeys(work, chosen, settings, model, probes, probe_batch, steps, precision)
    write_table(work / SCORES_FILE, scores)
    write_json(work / METRICS_FILE, metrics)
    return Evaluation(metrics, scores, work / METRICS_FILE, work / SCORES_FILE)


def _imagenet_features(weights: str | Path | None) -> InceptionFeatures | None:
    """ImageNet's features if their weights are among the judges'."""
    path = Path(weights or ModelConfig.find().models) / INCEPTION_FILE
    return InceptionFeatures(path) if path.is_file() else None


def _image_size(work: Path) -> int:
    """Side of the working folder's prepared images, in pixels."""
    for file in read_table(work / PAIRS_FILE, columns=["prior_image"], made_by="register")["prior_image"]:
        try:
            return read_picture(work, file).shape[0]
        except ImageError:
            continue
    return 128


def _other_systems(work: Path, images: Mapping[str, str | Path], *, size: int) -> list[System]:
    """The folder's further systems, then those of `images`."""
    systems = read_baselines(work, size=size)
    for name, folder in images.items():
        if not name or not Path(folder).is_dir():
            raise ConfigError("a system must have a name and an existing folder", found=f"{name}={folder}")
        systems.append(read_system(name, folder, size=size))
    names = [system.name for system in systems]
    taken = [name for name in names if name in OWN_SYSTEMS or names.count(name) > 1]
    if taken:
        raise ConfigError("each system must have its own name", found=taken[0])
    return systems
