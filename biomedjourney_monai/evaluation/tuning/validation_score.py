"""Score counterfactuals that are still in memory, as a training makes them on its validation journeys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas
import torch

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.evaluation.further import summarise_further
from biomedjourney_monai.evaluation.judges.loading import load_judges
from biomedjourney_monai.evaluation.metrics.bootstrap import draw_patient_weights
from biomedjourney_monai.evaluation.metrics.sides import SideCorrectness
from biomedjourney_monai.evaluation.summary import OVERALL, read_truth, summarise
from biomedjourney_monai.evaluation.systems.asked_findings import Requests
from biomedjourney_monai.evaluation.systems.scoring import score_systems
from biomedjourney_monai.evaluation.systems.sources import Counterfactuals
from biomedjourney_monai.evaluation.systems.true_counterfactuals import REGIONS, TrueCounterfactuals, TruthError
from biomedjourney_monai.files import read_table
from biomedjourney_monai.schema import PAIR_COLUMNS, PAIRS_FILE

SCORES = ("cmig", "pathology_auroc", "changed_auroc", "race_auroc", "age_r", "dice_reference")


class ValidationScore:
    """The numbers of `biomedjourney evaluate` without intervals, for images in memory.

    Args:
        work: the working folder, with pairs.parquet and its images.
        judges_dir: folder of the judges.
        device: where they run.
        requests: what each journey asks for; with them `side_correct` is scored too.
        truth: true counterfactuals of rendered patients; with them `truth_psnr inside` and `truth_psnr outside`, in dB,
            over the journeys that have one.
    """

    def __init__(
        self,
        work: str | Path,
        *,
        judges_dir: str | Path,
        device: torch.device | str = "cpu",
        requests: Requests | None = None,
        truth: TrueCounterfactuals | None = None,
    ) -> None:
        self.work, self.judges_dir, self.device = Path(work), judges_dir, device
        self.requests, self.truth = requests, truth

    def __call__(self, journey_ids: Sequence[str], images: np.ndarray) -> dict[str, float]:
        """Score.

        Args:
            journey_ids: of pairs.parquet.
            images: counterfactuals in the same order, float in [0, 1], shape (N, H, W).

        Returns:
            SCORES by name, and those that were asked for; NaN where there is too little to compute one.

        Raises:
            TableError: if pairs.parquet lacks a journey.
        """
        pairs = read_table(self.work / PAIRS_FILE, columns=PAIR_COLUMNS, made_by="register").set_index("journey_id")
        strangers = [journey for journey in journey_ids if journey not in pairs.index]
        if strangers:
            raise TableError(
                f"{self.work / PAIRS_FILE} must hold every journey of the latent cache",
                found=f"{len(strangers)} that it lacks",
                action="Run `biomedjourney encode` again",
            )
        journeys = pairs.loc[list(journey_ids)].reset_index()
        rows = {journey: {"journey_id": journey, "index": place} for place, journey in enumerate(journey_ids)}
        system = Counterfactuals(rows, images)
        judges = load_judges(self.judges_dir, device=self.device)
        measures = [] if self.requests is None else [SideCorrectness(self.requests)]
        measures += [] if self.truth is None else [TruthError(self.truth)]
        frames, _ = score_systems(journeys, [system], judges, work=self.work, measures=measures)
        weights = draw_patient_weights(journeys["subject_id"], replicates=0, generator=np.random.default_rng(0))
        summary = summarise(frames[system.name], read_truth(journeys), weights=weights)
        scores = {name: float(summary[name][OVERALL].values[0]) for name in SCORES}
        return scores | self._further(frames[system.name], weights)

    def _further(self, scores: pandas.DataFrame, weights: np.ndarray) -> dict[str, float]:
        wanted = [] if self.requests is None else [("side_correct", OVERALL)]
        wanted += [] if self.truth is None else [("truth_psnr", part) for part in REGIONS]
        if not wanted:
            return {}
        summary = summarise_further(scores, weights=weights)
        return {
            metric if part == OVERALL else f"{metric} {part}": float(summary[metric][part].values[0])
            for metric, part in wanted
        }
