"""The journeys of a working folder as a MONAI evaluator takes them: images for the network, truth as the label."""

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import Tensor
from torch.utils.data import Dataset

from biomedjourney_monai.errors import ConfigError, ImageError, TableError
from biomedjourney_monai.evaluation.journeys import choose_journeys
from biomedjourney_monai.evaluation.judges.judged import Row
from biomedjourney_monai.evaluation.judges.scores import on_grid
from biomedjourney_monai.evaluation.metrics.labels import read_truth
from biomedjourney_monai.evaluation.systems.scoring import records, valid_mask
from biomedjourney_monai.evaluation.systems.sources import (
    COUNTERFACTUAL,
    CopyPrior,
    RealReference,
    System,
    read_counterfactuals,
)
from biomedjourney_monai.schema import SAMPLES_FOLDER

logger = logging.getLogger(__name__)

SYSTEMS = (COUNTERFACTUAL, CopyPrior.name, RealReference.name)


class JourneyDataset(Dataset[dict[str, Tensor]]):
    """The journeys that `biomedjourney evaluate` scores, one dict of tensors for each.

    `image` is the system's, `reference_image` and `prior_image` are the pair's: float32 (1, H, W) in [0, 1], all NaN
    where a file cannot be read. `valid` is bool (1, H, W): where the registered reference has content. `label` is
    float32 (12,): new findings, the same where they changed, group and age; NaN for unknown.

    Args:
        work: the working folder.
        system: whose images are scored, one of SYSTEMS.
        split: which journeys.
        limit: at most so many journeys, 0 for all.
        uncertain: what an uncertain label counts as: "mask", "positive" or "negative".
        unmentioned: the same for a finding that the report does not mention.

    Raises:
        TableError: if the tables or the samples are missing or unusable, or no journey is left.
    """

    def __init__(
        self,
        work: str | Path,
        *,
        system: str = COUNTERFACTUAL,
        split: str = "test",
        limit: int = 0,
        uncertain: str = "mask",
        unmentioned: str = "negative",
    ) -> None:
        self.work = Path(work)
        counterfactuals = read_counterfactuals(self.work / SAMPLES_FOLDER)
        journeys, self.counts = choose_journeys(self.work, counterfactuals, split=split, limit=limit)
        truth = read_truth(journeys, uncertain=uncertain, unmentioned=unmentioned)
        self.labels = np.column_stack([truth.new_labels, truth.changed_labels, truth.group, truth.age])  # (N, 12)
        self.rows = records(journeys)
        self.systems: dict[str, System] = {
            "image": self._choose(system, counterfactuals),
            "reference_image": RealReference(self.work),
            "prior_image": CopyPrior(self.work),
        }
        self.failures: Counter[str] = Counter()
        self._shapes: dict[str, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        row = self.rows[index]
        images = {name: self._read(name, row) for name in self.systems}
        valid = valid_mask(self.work, row, images["reference_image"].shape[-2:])
        return {**images, "valid": valid, "label": torch.from_numpy(self.labels[index].astype(np.float32))}

    def _choose(self, system: str, counterfactuals: System | None) -> System:
        """The system of this name."""
        if system not in SYSTEMS:
            raise ConfigError(f"system must be one of {', '.join(SYSTEMS)}", found=str(system))
        baselines: dict[str, System] = {kind.name: kind(self.work) for kind in (CopyPrior, RealReference)}
        chosen = baselines.get(system, counterfactuals)
        if chosen is None:
            raise TableError(
                f"{self.work / SAMPLES_FOLDER} must hold counterfactuals",
                found="no samples.jsonl",
                action="Run `biomedjourney sample` first, or pass --system copy-prior",
            )
        return chosen

    def _read(self, name: str, row: Row) -> Tensor:
        """Read one image, (1, H, W), in the size of the first of the same kind."""
        try:
            pixels = np.ascontiguousarray(self.systems[name].image(row), dtype=np.float32)
        except ImageError as error:
            self.failures[f"{name}: {error}"] += 1
            return torch.full((1, *self._shapes.get(name, (128, 128))), torch.nan)
        image = torch.from_numpy(pixels)[None].clamp(0, 1)
        height, width = image.shape[-2:]
        return on_grid(image[None], self._shapes.setdefault(name, (height, width)))[0]


class LogCounts:
    """When an evaluation ends, log how many journeys were scored, and what was left out and why.

    Args:
        dataset: of the evaluator.
    """

    def __init__(self, dataset: JourneyDataset) -> None:
        self.dataset = dataset

    def attach(self, engine: Engine) -> None:
        """Register at the end of the run."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        counts = self.dataset.counts
        dropped = ", ".join(f"{count} {reason}" for reason, count in counts["dropped"].items()) or "none"
        logger.info(f"Scored {counts['scored']} journeys of {counts['patients']} patients; dropped: {dropped}.")
        for reason, count in self.dataset.failures.items():
            logger.info(f"{count} images not scored: {reason}")
