"""Numbers beyond the paper's, from the columns that the measures added to the scores.

A column is named by its metric and, after a space, its part: "truth_psnr inside". A metric whose columns are not there
is null, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas

from biomedjourney_monai.evaluation.bootstrap import weighted_mean
from biomedjourney_monai.evaluation.requests import SIDED
from biomedjourney_monai.evaluation.scoring import PATHOLOGY_COLUMNS
from biomedjourney_monai.evaluation.severity import compute_concordance
from biomedjourney_monai.evaluation.summary import OVERALL, Statistic, Summary
from biomedjourney_monai.schema import FINDINGS, STRUCTURES

NO_TRUTH = "no true counterfactuals: pass --truth"
NO_REQUESTS = "no descriptions: run `biomedjourney describe`"
NO_FEATURES = "these judges give no features"
NO_TARGETS = "no training images: pass --training-targets"


@dataclass(frozen=True)
class MeanMetric:
    """A metric that is the mean of a column over journeys.

    Attributes:
        parts: its parts beside the overall number, which is their mean unless a column holds it.
        without: the reason where its columns are missing.
        nothing: the reason where the columns hold no number.
    """

    parts: tuple[str, ...]
    without: str
    nothing: str = "no journey could be measured"


MEANS = {
    "truth_psnr": MeanMetric(("inside", "outside"), NO_TRUTH),
    "truth_ssim": MeanMetric(("inside", "outside"), NO_TRUTH),
    "truth_agreement": MeanMetric(FINDINGS, NO_TRUTH),
    "truth_dice": MeanMetric(STRUCTURES, NO_TRUTH),
    "truth_changed_share": MeanMetric((), NO_TRUTH),
    "side_correct": MeanMetric(SIDED, NO_REQUESTS, "no journey asks for a new finding on one side"),
}
SEVERITY = "severity_concordance"
FURTHER = (*MEANS, SEVERITY)
"""Every metric of this page."""


def summarise_further(scores: pandas.DataFrame, *, weights: np.ndarray) -> Summary:
    """Compute every further metric of one system.

    Args:
        scores: the columns of `score_systems`, with those of the measures or without.
        weights: of `draw_patient_weights`, shape (1 + R, N).

    Returns:
        Metric -> part -> statistic, every metric of FURTHER; NaN with a reason where it cannot be computed.
    """
    summary = {name: _means(name, metric, scores, weights) for name, metric in MEANS.items()}
    return summary | {SEVERITY: _severity(scores, weights)}


def _means(name: str, metric: MeanMetric, scores: pandas.DataFrame, weights: np.ndarray) -> dict[str, Statistic]:
    columns = {part: f"{name} {part}" for part in metric.parts if f"{name} {part}" in scores}
    parts = {part: _mean(scores[column].to_numpy(), weights, metric.nothing) for part, column in columns.items()}
    if f"{name} {OVERALL}" in scores:
        overall = _mean(scores[f"{name} {OVERALL}"].to_numpy(), weights, metric.nothing)
    elif parts:
        overall = mean_of_parts(parts, metric.nothing)
    else:
        overall = unknown(len(weights), metric.without)
    return {OVERALL: overall, **parts}


def _severity(scores: pandas.DataFrame, weights: np.ndarray) -> dict[str, Statistic]:
    if f"asked_severity {FINDINGS[0]}" not in scores:
        return {OVERALL: unknown(len(weights), NO_REQUESTS)}
    parts = {}
    for finding, column in zip(FINDINGS, PATHOLOGY_COLUMNS):
        seen, asked = scores[column].to_numpy(), scores[f"asked_severity {finding}"].to_numpy()
        count = int((np.isfinite(seen) & np.isfinite(asked)).sum())
        values = compute_concordance(seen, asked, weights=weights)
        parts[finding] = Statistic(values, count, "" if np.isfinite(values[0]) else "only one severity is asked for")
    return {OVERALL: mean_of_parts(parts, "only one severity is asked for"), **parts}


def mean_of_parts(parts: dict[str, Statistic], nothing: str) -> Statistic:
    """Average the parts that are known, replicate by replicate; those that are not are named."""
    known = [part for part, statistic in parts.items() if np.isfinite(statistic.values[0])]
    if not known:
        return unknown(len(next(iter(parts.values())).values), nothing)
    values = np.mean([parts[part].values for part in known], axis=0)
    missing = ", ".join(part for part in parts if part not in known)
    return Statistic(values, max(parts[part].count for part in known), f"without {missing}" if missing else "")


def unknown(rows: int, reason: str) -> Statistic:
    """A number that cannot be computed, and why; `rows` is 1 + R."""
    return Statistic(np.full(rows, np.nan), 0, reason)


def _mean(values: np.ndarray, weights: np.ndarray, nothing: str) -> Statistic:
    count = int(np.isfinite(values).sum())
    return Statistic(weighted_mean(values, weights=weights), count, "" if count else nothing)
