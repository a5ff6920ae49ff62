"""Order of severity: does "large" score above "moderate", and "moderate" above "small"?"""

from itertools import combinations

import numpy as np

from biomedjourney_monai.evaluation.judges.judged import Batch, Judged
from biomedjourney_monai.evaluation.metrics.auroc import compute_auroc
from biomedjourney_monai.evaluation.metrics.measure import ASKED, Measure, Scored
from biomedjourney_monai.evaluation.metrics.statistic import (
    OVERALL,
    Statistic,
    Statistics,
    count_known,
    mean_of_parts,
    replicate_by_block,
    unknown,
)
from biomedjourney_monai.evaluation.systems.asked_findings import NO_DESCRIPTIONS, AskedScorer, asked_severities
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
        A float in [0, 1], 0.5 if the order is random, or shape (R,) with weights; NaN where all are of one grade.
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


class AskedSeverity(AskedScorer):
    """The severity that was asked for, 1 to 3, NaN where none is named; the same for every system."""

    columns = tuple(f"asked_severity {finding}" for finding in FINDINGS)

    def begin(self, batch: Batch) -> None:
        """Find what the descriptions ask for."""
        self._grades = np.stack([asked_severities(self.asked.get(row["journey_id"], {})) for row in batch.rows])

    def measure(self, judged: Judged, batch: Batch) -> np.ndarray:
        return self._grades


def _order(scored: Scored, column: str) -> Statistics:
    """Concordance of a column of each finding with the severity that was asked for."""
    one_severity = "only one severity is asked for"
    if f"asked_severity {FINDINGS[0]}" not in scored.scores or f"{column} {FINDINGS[0]}" not in scored.scores:
        return {OVERALL: unknown(len(scored.weights), NO_DESCRIPTIONS)}
    parts = {}
    for finding in FINDINGS:
        values, grades = scored.columns([f"{column} {finding}", f"asked_severity {finding}"]).T
        order = Statistic(
            np.asarray(compute_concordance(values, grades, weights=scored.weights)), count_known(values, grades)
        )
        parts[finding] = order if order.known else Statistic(order.values, order.count, one_severity)
    return {OVERALL: mean_of_parts(parts, one_severity), **parts}


SEVERITY_CONCORDANCE = Measure(
    key="severity_concordance",
    title="Order of severity, by the judge",
    meaning="Of two journeys that were asked for different severities of a finding: how often the judge's"
    " probability is higher for the more severe one. It was trained to detect presence, so compare with the real"
    " reference.",
    compute=lambda scored: _order(scored, "pathology"),
    topic=ASKED,
    chance=0.5,
    terminal="severity by judge",
)
SEVERITY_CHANGE = Measure(
    key="severity_change",
    title="Order of severity, by the change",
    meaning="The same, by how much the picture changes at the finding's anatomy instead of the judge's probability.",
    compute=lambda scored: _order(scored, "change_at"),
    topic=ASKED,
    chance=0.5,
    terminal="severity, change",
)
