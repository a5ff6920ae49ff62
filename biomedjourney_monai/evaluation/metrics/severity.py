"""Do severity words mean what they say: does "large" score above "moderate", and that above "small"?"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from biomedjourney_monai.evaluation.judges.judged import Batch, Judged
from biomedjourney_monai.evaluation.metrics.auroc import compute_auroc
from biomedjourney_monai.evaluation.metrics.bootstrap import replicate_by_block
from biomedjourney_monai.evaluation.systems.asked_findings import Requests, asked_severities
from biomedjourney_monai.schema import FINDINGS

GRADES = (1, 2, 3)
"""Small or mild (slight, trace, minimal); moderate; large or severe."""


def compute_concordance(
    scores: np.ndarray, grades: np.ndarray, *, weights: np.ndarray | None = None
) -> float | np.ndarray:
    """Compute the chance that of two cases of different grade the higher one scores higher; ties count half.

    Args:
        scores: shape (N,). Rows with NaN are left out.
        grades: shape (N,), of GRADES. Rows with NaN are left out.
        weights: shape (R, N), >= 0: how often each replicate holds each row. Without weights: once.

    Returns:
        A float in [0, 1], 0.5 for words without meaning, or shape (R,) with weights; NaN where all are of one grade.
    """
    scores, grades = np.asarray(scores, np.float64), np.asarray(grades, np.float64)
    rows = np.ones((1, len(scores))) if weights is None else np.asarray(weights)
    known = np.isfinite(scores) & np.isfinite(grades)
    concordance = replicate_by_block(lambda block: _concordance(scores[known], grades[known], block), rows, known)
    return float(concordance[0]) if weights is None else concordance


def _concordance(scores: np.ndarray, grades: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(N,), (N,), (R, N) -> (R,)."""
    won, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for low, high in combinations(GRADES, 2):
        chosen = np.isin(grades, (low, high))
        is_high = (grades[chosen] == high).astype(np.float64)
        here = weights[:, chosen]
        count = (here @ is_high) * (here @ (1 - is_high))
        area = compute_auroc(scores[chosen], is_high, weights=here)
        won += np.where(count > 0, np.nan_to_num(area) * count, 0)
        pairs += count
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, won / pairs, np.nan)


class AskedSeverity:
    """Note beside each image the severity that was asked for, 1 to 3, NaN where none is named.

    Args:
        requests: what each journey asks for.
    """

    columns = tuple(f"asked_severity {finding}" for finding in FINDINGS)

    def __init__(self, requests: Requests) -> None:
        self.requests = requests

    def begin(self, batch: Batch) -> None:
        """Look the requests up."""
        self._grades = np.stack([asked_severities(self.requests.get(row["journey_id"], {})) for row in batch.rows])

    def measure(self, judged: Judged, batch: Batch) -> np.ndarray:
        """The same for every system."""
        return self._grades
