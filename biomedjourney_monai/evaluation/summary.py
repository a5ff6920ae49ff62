"""From scores per journey to the numbers of a table, each with an interval, a count and, where needed, a note."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas

from biomedjourney_monai.evaluation.metrics.auroc import compute_finding_aurocs, compute_group_aurocs
from biomedjourney_monai.evaluation.metrics.bootstrap import percentile_interval, weighted_mean
from biomedjourney_monai.evaluation.metrics.cmig import clamped_terms, compute_cmig, compute_cmig_with_dice
from biomedjourney_monai.evaluation.metrics.correlation import compute_pearson_r
from biomedjourney_monai.evaluation.metrics.labels import RACE_GROUPS, apply_label_policy, changed_only, race_group
from biomedjourney_monai.evaluation.systems.scoring import (
    DICE_PRIOR_COLUMNS,
    DICE_REFERENCE_COLUMNS,
    PATHOLOGY_COLUMNS,
    RACE_COLUMNS,
)
from biomedjourney_monai.schema import FINDINGS, STRUCTURES

OVERALL = "overall"
METRICS = (
    "pathology_auroc",
    "changed_auroc",
    "race_auroc",
    "age_r",
    "cmig",
    "cmig_with_dice",
    "kl",
    "kl_binary",
    "dice_reference",
    "dice_prior",
)


@dataclass(frozen=True)
class Truth:
    """What the tables say of the journeys, in their order.

    Attributes:
        new_labels: shape (N, 5), 1, 0 or NaN for left out.
        changed_labels: the same where the finding changed since the prior, else NaN.
        group: shape (N,), index in RACE_GROUPS or NaN.
        age: anchor age in years, shape (N,), or NaN.
    """

    new_labels: np.ndarray
    changed_labels: np.ndarray
    group: np.ndarray
    age: np.ndarray

    def rows(self, chosen: np.ndarray) -> Truth:
        """Give the rows where `chosen`, bool (N,), is true."""
        return Truth(*(values[chosen] for values in vars(self).values()))


@dataclass(frozen=True)
class Statistic:
    """A number and its bootstrap replicates: `values[0]` is the number, shape (1 + R,)."""

    values: np.ndarray
    count: int
    note: str = ""

    def as_number(self) -> dict[str, Any]:
        """Give value, low, high (95 %), count of journeys behind it, and note; unknown values are NaN."""
        low, high = percentile_interval(self.values[1:])
        return {
            "value": float(self.values[0]),
            "low": low,
            "high": high,
            "count": self.count,
            "note": self.note,
        }


Summary = dict[str, dict[str, Statistic]]
"""Metric -> part (a finding, a group, a structure, or OVERALL) -> statistic."""


def read_truth(journeys: pandas.DataFrame, *, uncertain: str = "mask", unmentioned: str = "negative") -> Truth:
    """Take the truth out of rows of pairs.parquet; for the policy see `apply_label_policy`."""
    new, prior = (
        apply_label_policy(
            journeys[[f"{side}_{finding}" for finding in FINDINGS]].to_numpy(np.float64),
            uncertain=uncertain,
            unmentioned=unmentioned,
        )
        for side in ("new", "prior")
    )
    groups = [race_group(race) for race in journeys["race"]]
    return Truth(
        new_labels=new,
        changed_labels=changed_only(prior, new),
        group=np.array([np.nan if group is None else group for group in groups], np.float64),
        age=journeys["anchor_age"].to_numpy(np.float64),
    )


def summarise(scores: pandas.DataFrame, truth: Truth, *, weights: np.ndarray) -> Summary:
    """Compute every metric of one system.

    Args:
        scores: columns `scoring.SCORE_COLUMNS`, rows in the order of `truth`.
        weights: of `draw_patient_weights`, shape (1 + R, N).
    """
    pathology, race = scores[PATHOLOGY_COLUMNS].to_numpy(), scores[RACE_COLUMNS].to_numpy()
    age = scores["age"].to_numpy()
    summary: Summary = {
        "pathology_auroc": _aurocs(pathology, truth.new_labels, weights),
        "changed_auroc": _aurocs(pathology, truth.changed_labels, weights),
        "race_auroc": _with_mean(
            RACE_GROUPS,
            compute_group_aurocs(race, truth.group, weights=weights),
            [_known(race[:, 0], truth.group)] * len(RACE_GROUPS),
        ),
        "age_r": {
            OVERALL: _noted(compute_pearson_r(age, truth.age, weights=weights), _known(age, truth.age), "constant age")
        },
        "dice_reference": _means(STRUCTURES, scores[DICE_REFERENCE_COLUMNS].to_numpy(), weights),
        "dice_prior": _means(STRUCTURES, scores[DICE_PRIOR_COLUMNS].to_numpy(), weights),
    }
    for name in ("kl", "kl_binary"):
        values = scores[name].to_numpy()
        summary[name] = {OVERALL: _noted(weighted_mean(values, weights=weights), _known(values), "no image")}
    return summary | _combined(summary)


def as_numbers(summary: Summary) -> dict[str, dict[str, dict[str, Any]]]:
    """Replace each statistic by its number, for metrics.json."""
    return {
        metric: {part: statistic.as_number() for part, statistic in parts.items()} for metric, parts in summary.items()
    }


def compare(one: Summary, other: Summary, *, metrics: tuple[str, ...] = METRICS) -> dict[str, dict[str, float]]:
    """Compute paired differences of two systems, one minus other, on the same bootstrap replicates.

    Returns:
        Metric -> value, low, high (95 %) and p, the two-sided bootstrap p-value of "no difference".
    """
    differences = {}
    for metric in metrics:
        values = one[metric][OVERALL].values - other[metric][OVERALL].values
        replicates = values[1:][np.isfinite(values[1:])]
        low, high = percentile_interval(values[1:])
        tails = [(1 + np.sum(replicates <= 0)), (1 + np.sum(replicates >= 0))]
        p = min(1.0, 2 * min(tails) / (1 + len(replicates))) if len(replicates) else float("nan")
        differences[metric] = {"value": float(values[0]), "low": low, "high": high, "p": float(p)}
    return differences


def _combined(summary: Summary) -> Summary:
    """Compute the CMIG, with and without Dice, from the statistics it is made of."""
    pathology, race, age, dice = (
        summary[name][OVERALL] for name in ("pathology_auroc", "race_auroc", "age_r", "dice_reference")
    )
    clamped = clamped_terms({"age r": float(age.values[0])})
    note = "; ".join(f"{name} is negative and counts as 0" for name in clamped)
    accuracy, retention = [pathology.values], [race.values, age.values]
    count = min(pathology.count, race.count, age.count)
    return {
        "cmig": {OVERALL: _noted(compute_cmig(accuracy, retention), count, "a term is unknown", note)},
        "cmig_with_dice": {
            OVERALL: _noted(
                compute_cmig_with_dice(accuracy, retention, dice.values),
                min(count, dice.count),
                "a term is unknown",
                note,
            )
        },
    }


def _aurocs(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> dict[str, Statistic]:
    counts = [_known(scores[:, f], labels[:, f]) for f in range(len(FINDINGS))]
    return _with_mean(FINDINGS, compute_finding_aurocs(scores, labels, weights=weights), counts)


def _means(parts: tuple[str, ...], values: np.ndarray, weights: np.ndarray) -> dict[str, Statistic]:
    columns = [weighted_mean(values[:, n], weights=weights) for n in range(len(parts))]
    return _with_mean(parts, np.stack(columns, axis=1), [_known(values[:, n]) for n in range(len(parts))])


def _with_mean(parts: tuple[str, ...], values: np.ndarray, counts: list[int]) -> dict[str, Statistic]:
    """Name the columns of (1 + R, parts) and add their mean; a part that is unknown is left out of it and named."""
    known = np.isfinite(values[0])
    missing = ", ".join(part for part, is_known in zip(parts, known) if not is_known)
    unknown = np.full(len(values), np.nan)
    mean = values[:, known].mean(axis=1) if known.any() else unknown
    statistics = {part: _noted(values[:, n], counts[n], "only one class") for n, part in enumerate(parts)}
    return {OVERALL: Statistic(mean, max(counts), f"without {missing}" if missing else ""), **statistics}


def _noted(values: np.ndarray, count: int, reason: str, note: str = "") -> Statistic:
    """Make a statistic whose note says why its value is unknown, if it is."""
    return Statistic(values, count, note if np.isfinite(values[0]) else (reason if count else "nothing to score"))


def _known(*columns: np.ndarray) -> int:
    return int(np.all([np.isfinite(column) for column in columns], axis=0).sum())
