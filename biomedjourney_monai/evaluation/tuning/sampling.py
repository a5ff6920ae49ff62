"""Sample every journey at a pair of guidance scales, and score the result at each threshold of `keep_unchanged`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from biomedjourney_monai.diffusion.sampler import CounterfactualSampler
from biomedjourney_monai.diffusion.settings import SamplingSettings
from biomedjourney_monai.evaluation.systems.asked_findings import read_asked_findings
from biomedjourney_monai.evaluation.systems.true_counterfactuals import TrueCounterfactuals
from biomedjourney_monai.evaluation.tuning.validation_score import ValidationScore
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
