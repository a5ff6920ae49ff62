"""Numbers beyond the paper's, from the columns that the measures added to the scores.

A column is named by its metric and, after a space, its part: "truth_psnr inside". A metric whose columns are not there
is null, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas

from biomedjourney_monai.evaluation.metrics.bootstrap import weighted_mean
from biomedjourney_monai.evaluation.metrics.severity import compute_concordance
from biomedjourney_monai.evaluation.summary import OVERALL, Statistic, Summary
from biomedjourney_monai.evaluation.systems.asked_findings import SIDED
from biomedjourney_monai.schema import FINDINGS, STRUCTURES

NO_TRUTH = "no true counterfactuals: pass --truth"
NO_REQUESTS = "no descriptions: run `biomedjourney describe`"
ONE_SEVERITY = "only one severity is asked for"
NO_FEATURES = "these judges give no features"
NO_TARGETS = "no training targets were read: pass --training-targets"
NO_IMAGENET = "no ImageNet weights: put inception_v3_google-0cc3c7bd.pth beside the judges' weights"


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
    "effectiveness": MeanMetric(FINDINGS, NO_REQUESTS, "no journey asks for it"),
    "others_moved": MeanMetric((), NO_REQUESTS, "no journey leaves a finding unspoken of"),
    "change_outside": MeanMetric((), NO_REQUESTS),
    "change_outside_share": MeanMetric((), NO_REQUESTS, "no journey asks for a change, or nothing changes"),
    "identity": MeanMetric((), NO_FEATURES),
    "identity_reciprocal": MeanMetric((), NO_FEATURES),
    "training_likeness": MeanMetric((), NO_TARGETS),
    "memorised": MeanMetric((), NO_TARGETS),
}
SEVERITIES = {
    "severity_concordance": ("pathology", "asked_severity"),
    "severity_change": ("change_at", "asked_severity"),
}
"""Metric -> the columns, one for each finding, that are to rise with the severity that is asked for."""

SETS = ("fid", "kid", "fid_imagenet", "kid_imagenet")
OF_IMAGES = (*MEANS, *SEVERITIES)
FURTHER = (*OF_IMAGES, *SETS)
"""Every metric beyond the paper's that needs no further sampling: of single images, and of sets."""


def summarise_further(scores: pandas.DataFrame, *, weights: np.ndarray) -> Summary:
    """Compute every further metric of one system.

    Args:
        scores: the columns of `score_systems`, with those of the measures or without.
        weights: of `draw_patient_weights`, shape (1 + R, N).

    Returns:
        Metric -> part -> statistic, every metric of OF_IMAGES; NaN with a reason where it cannot be computed.
    """
    summary = {name: _means(name, metric, scores, weights) for name, metric in MEANS.items()}
    return summary | {name: _severity(scores, weights, *columns) for name, columns in SEVERITIES.items()}


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


def _severity(scores: pandas.DataFrame, weights: np.ndarray, seen: str, asked: str) -> dict[str, Statistic]:
    if f"{asked} {FINDINGS[0]}" not in scores or f"{seen} {FINDINGS[0]}" not in scores:
        return {OVERALL: unknown(len(weights), NO_REQUESTS)}
    parts = {}
    for finding in FINDINGS:
        values, grades = scores[f"{seen} {finding}"].to_numpy(), scores[f"{asked} {finding}"].to_numpy()
        count = int((np.isfinite(values) & np.isfinite(grades)).sum())
        order = compute_concordance(values, grades, weights=weights)
        parts[finding] = Statistic(order, count, "" if np.isfinite(order[0]) else ONE_SEVERITY)
    return {OVERALL: mean_of_parts(parts, ONE_SEVERITY), **parts}


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
