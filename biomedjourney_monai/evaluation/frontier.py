"""Accuracy against retention: which settings no other setting beats in both, and which has the best CMIG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from biomedjourney_monai.evaluation.cmig import compute_cmig


def accuracy_of(scores: Mapping[str, float]) -> float:
    """The accuracy side of CMIG: mean pathology AUROC."""
    return float(scores["pathology_auroc"])


def retention_of(scores: Mapping[str, float]) -> float:
    """The retention side of CMIG: the geometric mean of race AUROC and the r of age, which counts as 0 below 0."""
    terms = [float(scores["race_auroc"]), float(scores["age_r"])]
    return float(compute_cmig(terms, terms))


def frontier_of(points: Sequence[tuple[float, float]]) -> list[int]:
    """Find the points that no other point beats in one coordinate without losing in the other.

    Args:
        points: (accuracy, retention), more is better; NaN is never on the frontier.

    Returns:
        Their places, by rising accuracy. Of equal points the first.
    """
    order = sorted(
        (place for place, point in enumerate(points) if np.isfinite(point).all()),
        key=lambda place: (-points[place][0], -points[place][1], place),
    )
    frontier, best = [], -np.inf
    for place in order:
        if points[place][1] > best:
            frontier.append(place)
            best = points[place][1]
    return frontier[::-1]
