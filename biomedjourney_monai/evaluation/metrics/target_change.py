"""How much an image differs from its prior, at the anatomy that must change and outside it."""

from collections.abc import Sequence

import cv2
import numpy as np

from biomedjourney_monai.evaluation.judges.judged import Batch, Judged
from biomedjourney_monai.evaluation.metrics.measure import KEPT, Measure
from biomedjourney_monai.evaluation.systems.asked_findings import (
    NO_DESCRIPTIONS,
    SIDES,
    WHOLE,
    AskedScorer,
    is_absent,
    prior_labels_of,
    targets_of,
)
from biomedjourney_monai.schema import FINDINGS, STRUCTURES

LEFT, RIGHT, HEART, DIAPHRAGM = (STRUCTURES.index(name) for name in ("left lung", "right lung", "heart", STRUCTURES[3]))
MARGIN_SHARE = 0.04
"""Of the frame's side, around each structure."""


def target_region(structures: np.ndarray, targets: Sequence[tuple[str, str]]) -> np.ndarray:
    """Mark the anatomy of the findings that must change.

    Fluid, air and collapse belong to one side's lung and diaphragm: their convex hull is taken, since the lung's own
    outline excludes them; edema to both lungs; cardiomegaly to the heart. A margin is added.

    Args:
        structures: masks of `schema.STRUCTURES`, bool, shape (6, H, W).
        targets: (finding, side) of `asked_findings.targets_of`.
    """
    shape = structures.shape[-2:]
    region = np.zeros(shape, np.uint8)
    for finding, side in targets:
        if finding == "Cardiomegaly":
            _fill_hull(region, structures[HEART])
        for one in SIDES if finding == "Edema" or (side == WHOLE and finding != "Cardiomegaly") else [side]:
            if one in SIDES:
                _fill_hull(region, _hemithorax(structures, one))
    margin = max(1, round(MARGIN_SHARE * max(shape)))
    return cv2.dilate(region, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)) > 0


def _hemithorax(structures: np.ndarray, side: str) -> np.ndarray:
    """One lung and its half of the diaphragm; the patient's left is image right."""
    diaphragm = structures[DIAPHRAGM].copy()
    middle = diaphragm.shape[1] // 2
    diaphragm[:, slice(middle) if side == "left" else slice(middle, None)] = False
    return structures[LEFT if side == "left" else RIGHT] | diaphragm


def _fill_hull(region: np.ndarray, mask: np.ndarray) -> None:
    rows, columns = np.nonzero(mask)
    if len(rows):
        points = np.stack([columns, rows], axis=1).astype(np.int32)
        cv2.fillConvexPoly(region, cv2.convexHull(points), 1)


class TargetChange(AskedScorer):
    """Change outside the anatomy that must change, and change at each finding that must appear."""

    columns = (
        "change_outside overall",
        "change_outside_share overall",
        *(f"change_at {finding}" for finding in FINDINGS),
    )

    def begin(self, batch: Batch) -> None:
        """Find what must change in each journey."""
        self._targets: list[list[tuple[str, str]] | None] = []
        self._onsets: list[set[str]] = []
        for place, row in enumerate(batch.rows):
            labels = prior_labels_of(row)
            asked = self.asked.get(row["journey_id"])
            targets = targets_of(asked, prior_labels=labels) if asked and batch.prior.good[place] else None
            self._targets.append(targets)
            self._onsets.append({finding for finding, _ in targets or [] if is_absent(labels[finding])})

    def measure(self, judged: Judged, batch: Batch) -> np.ndarray:
        """Measure in grey levels of a range of 1; the share is of all change in the frame."""
        change = (judged.images_on(batch.shape) - batch.prior.images).abs()[:, 0].double().numpy()  # (B, H, W)
        masks = (judged.structures_on(batch.shape) | batch.prior.scores.structures).numpy()
        values = np.full((len(batch.rows), len(self.columns)), np.nan)
        for place, targets in enumerate(self._targets):
            if targets is None or not judged.good[place]:
                continue
            outside = ~target_region(masks[place], targets)
            whole = change[place].sum()
            if outside.any():
                values[place, 0] = change[place][outside].mean()
                values[place, 1] = change[place][outside].sum() / whole if whole > 0 and targets else np.nan
            for finding in self._onsets[place]:
                at = target_region(masks[place], [target for target in targets if target[0] == finding])
                if at.any():
                    values[place, 2 + FINDINGS.index(finding)] = change[place][at].mean()
        return values


CHANGE_OUTSIDE = Measure(
    key="change_outside",
    title="Change elsewhere",
    meaning="Mean absolute change, in grey levels of a range of 1, outside the anatomy that must change.",
    without=NO_DESCRIPTIONS,
    topic=KEPT,
    lower_is_better=True,
    terminal="change elsewhere",
)
CHANGE_OUTSIDE_SHARE = Measure(
    key="change_outside_share",
    title="Share of change elsewhere",
    meaning="Which share of all change lies outside the anatomy that must change.",
    without=NO_DESCRIPTIONS,
    nothing="no journey asks for a change, or nothing changes",
    topic=KEPT,
    lower_is_better=True,
)
