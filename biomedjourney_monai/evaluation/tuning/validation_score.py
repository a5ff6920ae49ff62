"""Score counterfactuals in memory, such as those that a training samples on its validation journeys."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.evaluation.judges.judged import Scorer
from biomedjourney_monai.evaluation.judges.loading import choose_judges
from biomedjourney_monai.evaluation.metrics.auroc import SEX_AUROC
from biomedjourney_monai.evaluation.metrics.labels import read_truth
from biomedjourney_monai.evaluation.metrics.measure import PAPER, Measure, Scored
from biomedjourney_monai.evaluation.metrics.registry import HEADLINES, MEASURES
from biomedjourney_monai.evaluation.metrics.sides import SideCorrectness
from biomedjourney_monai.evaluation.metrics.statistic import OVERALL, draw_patient_weights
from biomedjourney_monai.evaluation.metrics.truth_error import TruthError
from biomedjourney_monai.evaluation.systems.asked_findings import AskedFindings
from biomedjourney_monai.evaluation.systems.scoring import score_systems
from biomedjourney_monai.evaluation.systems.sources import Counterfactuals
from biomedjourney_monai.evaluation.systems.true_counterfactuals import TrueCounterfactuals
from biomedjourney_monai.files import read_table
from biomedjourney_monai.schema import PAIR_COLUMNS, PAIRS_FILE

SCORES = tuple(measure.key for measure in HEADLINES)


def score_name(measure: Measure, part: str) -> str:
    """The name of a measure's part among the scores: `truth_psnr inside`, or the key alone for the overall number."""
    return measure.key if part == OVERALL else f"{measure.key} {part}"


class ValidationScore:
    """The numbers of `biomedjourney evaluate` without intervals, for images in memory.

    Args:
        work: the working folder, with pairs.parquet and its images.
        judges_dir: folder of the judges; those that fit the priors are taken.
        device: where they run.
        asked: what each journey's description asks for; with it `side_correct` is scored too.
        truth: true counterfactuals; with them `truth_psnr inside` and `outside`, in dB, of the journeys that have one.
    """

    def __init__(
        self,
        work: str | Path,
        *,
        judges_dir: str | Path,
        device: torch.device | str = "cpu",
        asked: AskedFindings | None = None,
        truth: TrueCounterfactuals | None = None,
    ) -> None:
        self.work, self.judges_dir, self.device = Path(work), judges_dir, device
        self.asked, self.truth = asked, truth

    def __call__(self, journey_ids: Sequence[str], images: np.ndarray) -> dict[str, float]:
        """Score counterfactuals of these journeys, float (N, H, W) in [0, 1].

        Returns:
            SCORES by name, and the further measures of the tuning's table whose data are given; NaN where unknown.

        Raises:
            TableError: if pairs.parquet lacks a journey.
        """
        pairs = read_table(self.work / PAIRS_FILE, columns=PAIR_COLUMNS, made_by="register").set_index("journey_id")
        missing = [journey for journey in journey_ids if journey not in pairs.index]
        if missing:
            raise TableError(
                f"{self.work / PAIRS_FILE} must hold every journey of the latent cache",
                found=f"{len(missing)} that it lacks",
                action="Run `biomedjourney encode` again",
            )
        journeys = pairs.loc[list(journey_ids)].reset_index()
        rows = {journey: {"journey_id": journey, "index": place} for place, journey in enumerate(journey_ids)}
        system = Counterfactuals(rows, images)
        judges, _ = choose_judges(self.work, self.judges_dir, device=self.device)
        scorers: list[Scorer] = [] if self.asked is None else [SideCorrectness(self.asked)]
        scorers += [] if self.truth is None else [TruthError(self.truth)]
        frames, _ = score_systems(journeys, [system], judges, work=self.work, scorers=scorers)
        weights = draw_patient_weights(journeys["subject_id"], replicates=0, seed=0)
        scored = Scored(frames[system.name], read_truth(journeys), weights)
        scores = {measure.key: float(scored.statistics(measure)[OVERALL].values[0]) for measure in HEADLINES}
        sex = scored.statistics(SEX_AUROC)[OVERALL]
        scores |= {SEX_AUROC.key: float(sex.values[0])} if sex.known else {}
        for measure in MEASURES:
            if measure.section == PAPER or not any(f"{measure.key} {part}" in scored.scores for part in measure.tuning):
                continue
            for part in measure.tuning:
                scores[score_name(measure, part)] = float(scored.statistics(measure)[part].values[0])
        return scores
