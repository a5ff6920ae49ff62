"""Side: is a finding that was asked for on one side seen on that side alone?"""

import numpy as np
import torch
from torch import Tensor

from biomedjourney_monai.evaluation.judges.judged import Batch, Judged
from biomedjourney_monai.evaluation.judges.scores import score_safely
from biomedjourney_monai.evaluation.metrics.measure import ASKED, Measure
from biomedjourney_monai.evaluation.systems.asked_findings import (
    NO_DESCRIPTIONS,
    SIDED,
    SIDES,
    AskedScorer,
    one_sided_onsets,
    prior_labels_of,
)
from biomedjourney_monai.schema import FINDINGS

MARGIN = 0.1
"""A rise of the probability on the other side by no more than this does not count."""

SEEN = 0.5


def only_half(side: str, images: Tensor, priors: Tensor) -> Tensor:
    """Put one half of images (B, 1, H, W) into the prior images, with a transition of four pixels.

    The side is the patient's; the patient's left is image right.
    """
    columns = torch.arange(images.shape[-1]) + 0.5
    share = ((columns - images.shape[-1] / 2) / 4 + 0.5).clamp(0, 1)
    share = share if side == "left" else 1 - share
    return share * images + (1 - share) * priors


def is_side_correct(named: np.ndarray, other: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Decide for each of N requests whether the finding has appeared on the named side alone.

    The probabilities are those with only the named side's half, with only the other half, and of the prior image.

    Returns:
        bool, shape (N,): on the named side above one half and above the prior's; on the other side not risen by more
        than the margin, and not above one half unless the prior's is.
    """
    raised = (named > SEEN) & (named > before)
    spared = (other - before <= MARGIN) & ((other <= SEEN) | (before > SEEN))
    return raised & spared


class SideCorrectness(AskedScorer):
    """Whether findings that were asked for on one side, and were on neither before, appear on that side alone.

    The judge sees the prior image with one half of the counterfactual in it, so that any difference to the prior comes
    from that half.
    """

    columns = ("side_correct overall", *(f"side_correct {finding}" for finding in SIDED))

    def begin(self, batch: Batch) -> None:
        """Find the batch's one-sided onsets."""
        self._onsets: list[tuple[int, str, str]] = []
        for place, row in enumerate(batch.rows):
            labels = prior_labels_of(row)
            asked = one_sided_onsets(self.asked.get(row["journey_id"], {}), prior_labels=labels)
            if batch.prior.good[place]:
                self._onsets += [(place, finding, side) for finding, side in asked.items()]

    def measure(self, judged: Judged, batch: Batch) -> np.ndarray:
        """Judge the halves of the images that were asked for one side; 1 correct, 0 not."""
        values = np.full((len(batch.rows), len(self.columns)), np.nan)
        places = sorted({place for place, _, _ in self._onsets if judged.good[place]})
        if not places:
            return values
        images, priors = judged.images_on(batch.shape)[places], batch.prior.images[places]
        halves = torch.cat([only_half(side, images, priors) for side in SIDES])
        scores, faults = score_safely(batch.judges, halves)
        seen = dict(zip(SIDES, scores.pathology.numpy().reshape(len(SIDES), len(places), -1)))
        faulty = {place % len(places) for place in faults}
        for place, finding, side in self._onsets:
            if place not in places or places.index(place) in faulty:
                continue
            n, column = places.index(place), FINDINGS.index(finding)
            other = SIDES[1 - SIDES.index(side)]
            before = batch.prior.scores.pathology[place, column].numpy()
            values[place, 1 + SIDED.index(finding)] = is_side_correct(
                seen[side][n, column], seen[other][n, column], before
            )
        known = np.isfinite(values[:, 1:]).any(axis=1)
        values[known, 0] = np.nanmean(values[known, 1:], axis=1)
        return values


SIDE_CORRECT = Measure(
    key="side_correct",
    title="Right side",
    meaning="Where a new finding is asked for on one side: how often it shows on that side alone.",
    parts=SIDED,
    without=NO_DESCRIPTIONS,
    nothing="no journey asks for a new finding on one side",
    topic=ASKED,
    terminal="right side",
    tuning={"overall": "side"},
)
