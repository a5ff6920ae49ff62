"""Sample every journey at a pair of guidance scales, and score the result at each threshold of `keep_unchanged`.

Accuracy against retention: settings that no other beats in both, the one with the best CMIG, and their plot.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from biomedjourney_monai.diffusion.sampler import CounterfactualSampler
from biomedjourney_monai.diffusion.settings import SamplingSettings
from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.evaluation.metrics.cmig import compute_cmig
from biomedjourney_monai.evaluation.systems.asked_findings import read_asked_findings
from biomedjourney_monai.evaluation.systems.true_counterfactuals import TrueCounterfactuals
from biomedjourney_monai.evaluation.tuning.validation_score import ValidationScore
from biomedjourney_monai.files import written_atomically
from biomedjourney_monai.model_config import ModelConfig
from biomedjourney_monai.networks.generator import CounterfactualGenerator
from biomedjourney_monai.radiographs.read.prepared import read_square_images


class Point(NamedTuple):
    """Settings that are searched."""

    text_guidance_scale: float
    image_guidance_scale: float
    keep_unchanged: float


def read_points(file: Path, settings: Mapping[str, Any]) -> dict[Point, dict[str, float]]:
    """The scores of an earlier run with the same settings, by point; {} if there are none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["settings"] != settings:
            return {}
        return {
            Point(*(point[name] for name in Point._fields)): {
                key: value for key, value in point.items() if key not in Point._fields
            }
            for point in content["points"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


@dataclass
class ScoredSampling:
    """Samples and scores journeys. The model is loaded when it is first needed.

    Attributes:
        triples: lines of triples.jsonl, the journeys.
        sampler: settings of the sampler that are the same for every point.
        precision: of the denoiser; None for the configuration's.
        judges: folder of the judges.
        seed: of the first journey.
        batch_size: images at once.
    """

    work: Path
    triples: Sequence[Mapping[str, Any]]
    model: ModelConfig
    sampler: Mapping[str, Any]
    precision: str | None
    judges: Path
    truth: TrueCounterfactuals | None
    seed: int
    batch_size: int

    def scores(
        self, text_scale: float, image_scale: float, thresholds: Sequence[float], bar: "tqdm[Any]"
    ) -> list[dict[str, float]]:
        """The scores at each threshold; the denoiser runs once for all of them."""
        generator, score = self._loaded
        scales = SamplingSettings(text_guidance_scale=text_scale, image_guidance_scale=image_scale)
        assert isinstance(generator.sampler, CounterfactualSampler)
        sampler = generator.sampler.with_settings(scales)
        size = self.model.image_size
        images: list[list[np.ndarray]] = [[] for _ in thresholds]
        for start in range(0, len(self.triples), self.batch_size):
            batch = self.triples[start : start + self.batch_size]
            priors = torch.from_numpy(read_square_images(self.work, [row["prior_image"] for row in batch], size=size))
            seeds = [self.seed + start + offset for offset in range(len(batch))]
            descriptions = [row["progression_description"] for row in batch]
            made = generator.keeping(priors[:, None], descriptions, seeds=seeds, thresholds=thresholds, sampler=sampler)
            for mine, counterfactuals in zip(images, made):
                mine.append(counterfactuals[:, 0].cpu().numpy())
            bar.update(len(batch))
        journeys = [row["journey_id"] for row in self.triples]
        return [score(journeys, np.concatenate(mine)) for mine in images]

    @cached_property
    def _loaded(self) -> tuple[CounterfactualGenerator, ValidationScore]:
        generator = self.model.load_generator(precision=self.precision, **self.sampler)
        asked = read_asked_findings(self.work)
        return generator, ValidationScore(self.work, judges_dir=self.judges, asked=asked, truth=self.truth)


def accuracy_of(scores: Mapping[str, float]) -> float:
    """The accuracy side of CMIG: mean pathology AUROC."""
    return float(scores["pathology_auroc"])


def retention_of(scores: Mapping[str, float]) -> float:
    """The retention side of CMIG: the geometric mean of race AUROC and the r of age, which counts as 0 below 0.

    Where no group is known, sex AUROC stands for race AUROC.
    """
    person = scores["race_auroc"] if is_finite(scores["race_auroc"]) else scores.get("sex_auroc")
    terms = [float("nan") if person is None else float(person), float(scores["age_r"])]
    return float(compute_cmig(terms, terms))


def frontier_of(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the (accuracy, retention) points that no other beats in one without losing in the other.

    They are in order of accuracy; of equal points the first. NaN is never on the frontier.
    """
    order = sorted(
        (place for place, point in enumerate(points) if np.isfinite(point).all()),
        key=lambda place: (-points[place][0], -points[place][1], place),
    )
    frontier, best = [], -np.inf
    for place in order:
        if points[place][1] > best:
            frontier.append(place)
            best = points[place][1]
    return frontier[::-1]


def summarise_points(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The frontier and the best of scored points, for tune.json.

    Raises:
        BiomedJourneyError: if no point has a CMIG.
    """
    sides = [(_number(accuracy_of, point), _number(retention_of, point)) for point in points]
    scored = [place for place, point in enumerate(points) if is_finite(point.get("cmig"))]
    if not scored:
        raise BiomedJourneyError(
            "tuning needs journeys whose findings, group and age vary",
            found="a CMIG that cannot be computed",
            action="Take more journeys",
        )
    return {
        "frontier": frontier_of(sides),
        "best": max(scored, key=lambda place: points[place]["cmig"]),
        "accuracy": [side[0] for side in sides],
        "retention": [side[1] for side in sides],
    }


def is_finite(value: Any) -> bool:
    """Whether it is a number; JSON has no NaN and gives None."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def _number(side: Callable[[Mapping[str, float]], float], point: Mapping[str, Any]) -> float:
    try:
        return side(point)
    except TypeError:  # JSON has no NaN: it came back as None
        return float("nan")


def draw_points(path: Path, content: Mapping[str, Any]) -> None:
    """Draw the points of tune.json's content as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points, across, up = content["points"], content["accuracy"], content["retention"]
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    several = len({point["keep_unchanged"] for point in points}) > 1
    axes.plot([across[n] for n in content["frontier"]], [up[n] for n in content["frontier"]], color="0.7", zorder=1)
    axes.scatter(across, up, color="tab:blue", zorder=2)
    axes.scatter([across[content["best"]]], [up[content["best"]]], color="tab:red", zorder=3, label="best CMIG")
    for x, y, point in zip(across, up, points):
        label = ", ".join(f"{point[name]:g}" for name in (Point._fields if several else Point._fields[:2]))
        if math.isfinite(x) and math.isfinite(y):
            axes.annotate(label, (x, y), textcoords="offset points", xytext=(5, 4), fontsize=8)
    axes.margins(x=0.14)  # room for the last point's label
    axes.set(xlabel="accuracy: pathology AUROC", ylabel="retention: mean of race AUROC and age r")
    axes.set_title("guidance scales (text, image)" + (" and what is kept below" if several else ""))
    axes.legend(loc="lower left")
    with written_atomically(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata={"Software": None})
