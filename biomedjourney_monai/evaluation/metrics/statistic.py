"""A number with its bootstrap replicates: how numbers are averaged, compared and written to metrics.json.

Replicates redraw patients, not images: the images of one patient are not independent.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

BLOCK_VALUES = 2**18
"""Weights that a statistic is computed from at once, 2 MB: memory grows with neither the journeys nor the rounds."""


def draw_patient_weights(patients: ArrayLike, *, replicates: int, seed: int) -> np.ndarray:
    """Draw how often each replicate holds each row.

    Every statistic here takes row weights, so one matrix serves all of them and all systems, which makes the
    replicates of two systems a pair.

    Args:
        patients: who each row belongs to, shape (N,).
        replicates: R >= 0.

    Returns:
        uint16, shape (1 + R, N): 2 bytes for each journey and replicate. The first row is all ones: the estimate
        itself.
    """
    people, row_of = np.unique(np.asarray(patients), return_inverse=True)
    shares = np.full(len(people), 1 / len(people))
    draws = np.random.default_rng(seed).multinomial(len(people), shares, size=replicates)  # (R, people)
    return np.concatenate([np.ones((1, len(people)), np.uint16), draws.astype(np.uint16)])[:, row_of]


def replicate_by_block(
    statistic: Callable[[np.ndarray], np.ndarray], weights: np.ndarray, chosen: np.ndarray
) -> np.ndarray:
    """Compute a statistic of the K chosen rows, some replicates at a time.

    `statistic` takes weights, float64, shape (r, K), and gives values, shape (r,). `weights` are of shape (R, N),
    `chosen` is bool, shape (N,). Returns shape (R,).
    """
    blocks = np.array_split(weights, -(-weights.size // BLOCK_VALUES) or 1)
    return np.concatenate([statistic(block[:, chosen].astype(np.float64)) for block in blocks])


def percentile_interval(replicates: np.ndarray) -> tuple[float, float]:
    """Find the 95 % percentile interval of the replicates; those that are NaN are left out.

    Returns:
        (low, high); both NaN where fewer than half of the replicates could be computed.
    """
    finite = replicates[np.isfinite(replicates)]
    if finite.size == 0 or finite.size < replicates.size / 2:
        return float("nan"), float("nan")
    tail = (1 - 0.95) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)


def weighted_mean(values: np.ndarray, *, weights: np.ndarray) -> np.ndarray:
    """Compute the mean over known rows in each replicate: (N,), (R, N) -> (R,); NaN where no row is known."""
    known = np.isfinite(values)
    return replicate_by_block(lambda rows: _mean(values[known], rows), weights, known)


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, weights @ values / total, np.nan)


OVERALL = "overall"


@dataclass(frozen=True)
class Statistic:
    """A number and its bootstrap replicates: `values[0]` is the number, shape (1 + R,).

    Attributes:
        values: NaN where unknown.
        count: journeys that it is computed from.
        note: why it is unknown, or what it leaves out.
    """

    values: np.ndarray
    count: int
    note: str = ""

    @property
    def known(self) -> bool:
        """Whether there is a number."""
        return bool(np.isfinite(self.values[0]))

    def as_number(self) -> dict[str, Any]:
        """Value, low, high (95 %), count and note; unknown values are NaN."""
        low, high = percentile_interval(self.values[1:])
        return {"value": float(self.values[0]), "low": low, "high": high, "count": self.count, "note": self.note}


Statistics = dict[str, Statistic]
"""Part (a finding, a group, a structure, or OVERALL) -> statistic."""

Summary = dict[str, Statistics]
"""Metric -> its statistics."""


def unknown(rows: int, reason: str) -> Statistic:
    """A number that cannot be computed, and why; `rows` is 1 + R."""
    return Statistic(np.full(rows, np.nan), 0, reason)


def noted(values: np.ndarray | float, count: int, reason: str, note: str = "") -> Statistic:
    """A statistic with `note` or, where its value is unknown, with the reason."""
    values = np.asarray(values)
    return Statistic(values, count, note if np.isfinite(values[0]) else (reason if count else "nothing to score"))


def mean_of(values: np.ndarray, weights: np.ndarray, nothing: str) -> Statistic:
    """The mean of a column, (N,), in each replicate; `nothing` is the reason where no row is known."""
    count = count_known(values)
    return Statistic(weighted_mean(values, weights=weights), count, "" if count else nothing)


def with_mean(parts: Sequence[str], values: np.ndarray, counts: Sequence[int]) -> Statistics:
    """Name the columns of (1 + R, parts) and add their mean, which leaves unknown parts out and names them."""
    statistics = {part: noted(values[:, n], counts[n], "only one class") for n, part in enumerate(parts)}
    known = np.isfinite(values[0])
    mean = values[:, known].mean(axis=1) if known.any() else np.full(len(values), np.nan)
    return {OVERALL: Statistic(mean, max(counts), _without(statistics)), **statistics}


def mean_of_parts(parts: Statistics, nothing: str) -> Statistic:
    """Average the known parts, replicate by replicate, and name the others; `nothing` is the reason without any."""
    known = [statistic for statistic in parts.values() if statistic.known]
    if not known:
        return unknown(len(next(iter(parts.values())).values), nothing)
    values = np.mean([statistic.values for statistic in known], axis=0)
    return Statistic(values, max(statistic.count for statistic in known), _without(parts))


def _without(parts: Statistics) -> str:
    missing = ", ".join(part for part, statistic in parts.items() if not statistic.known)
    return f"without {missing}" if missing else ""


def count_known(*columns: np.ndarray) -> int:
    """How many rows are finite in every column."""
    return int(np.all([np.isfinite(column) for column in columns], axis=0).sum())


def as_numbers(summary: Summary) -> dict[str, dict[str, dict[str, Any]]]:
    """Replace each statistic by its number, for metrics.json."""
    return {
        metric: {part: statistic.as_number() for part, statistic in parts.items()} for metric, parts in summary.items()
    }


def compare(one: Summary, other: Summary, *, metrics: Iterable[str]) -> dict[str, dict[str, float]]:
    """Paired differences of two systems, one minus other, on the same bootstrap replicates.

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
