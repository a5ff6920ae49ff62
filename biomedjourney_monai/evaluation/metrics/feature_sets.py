"""FID and KID: distances of sets of images, from a network's features."""

import numpy as np

from biomedjourney_monai.evaluation.metrics.measure import REAL, Measure, Scored
from biomedjourney_monai.evaluation.metrics.statistic import OVERALL, Statistic, Statistics, replicate_by_block, unknown

MOST_IN_KID = 2000
"""Journeys that KID compares pair by pair; of more, the first ones."""

IMAGENET = "_imagenet"
"""Suffix of the measures by ImageNet's features."""

NO_FEATURES = "these judges give no features"
NO_IMAGENET = "no ImageNet weights: put inception_v3_google-0cc3c7bd.pth beside the judges' weights"
NO_INTERVAL = "no interval: sets drawn again with repetitions lie farther apart by themselves"


def compute_fid(features: np.ndarray, reference: np.ndarray) -> float:
    """Compute the Fréchet distance between two sets of features, each taken as a normal distribution.

    The trace of the root of the product of the covariances is the sum of the singular values of A Bᵀ, with A and B the
    centred features over sqrt(N - 1); so it can be computed with fewer images than features. But the distance then
    depends strongly on the number of images: compare only sets of one size.

    Args:
        features: shape (N, D).
        reference: shape (M, D).

    Returns:
        >= 0; NaN with fewer than 2 rows in a set.

    Raises:
        ValueError: if the widths differ.

    Source: Heusel et al. 2017, GANs trained by a two time-scale update rule.
    """
    features, reference = _checked(features, reference)
    if min(len(features), len(reference)) < 2:
        return float("nan")
    means = features.mean(axis=0), reference.mean(axis=0)
    one, other = ((x - m) / np.sqrt(len(x) - 1) for x, m in zip((features, reference), means))
    spread = (one**2).sum() + (other**2).sum()
    small = [np.asarray(np.linalg.qr(x, mode="r")) if len(x) > x.shape[1] else x for x in (one, other)]
    common = np.linalg.svd(small[0] @ small[1].T, compute_uv=False).sum()
    return float(max(((means[0] - means[1]) ** 2).sum() + spread - 2 * common, 0))


def compute_kid(
    features: np.ndarray, reference: np.ndarray, *, weights: np.ndarray | None = None
) -> float | np.ndarray:
    """Compute the kernel distance of two sets of features: the unbiased squared discrepancy, kernel (x·y/D + 1)³.

    Args:
        features: shape (N, D).
        reference: shape (N, D), of the same journeys in the same order.
        weights: shape (R, N), >= 0: how often each replicate holds each journey. Without weights: once. Pairs of an
            image with itself are left out, however often a replicate holds it.

    Returns:
        A float, which may be a little below 0, or shape (R,) with weights; NaN with fewer than 2 journeys.

    Raises:
        ValueError: if the shapes differ.

    Source: Bińkowski et al. 2018, Demystifying MMD GANs.
    """
    features, reference = _checked(features, reference)
    if features.shape != reference.shape:
        raise ValueError(f"the sets must be of one shape (N, D); found {features.shape} and {reference.shape}.")
    rows = np.ones((1, len(features))) if weights is None else np.asarray(weights)
    every = np.ones(len(features), bool)
    total = replicate_by_block(lambda block: block.sum(axis=1), rows, every)
    squares = replicate_by_block(lambda block: (block**2).sum(axis=1), rows, every)
    pairs = [_sum_of_pairs(x, x, rows, with_itself=False) for x in (features, reference)]
    with np.errstate(invalid="ignore", divide="ignore"):
        within = sum(of_set / (total**2 - squares) for of_set in pairs)
        between = _sum_of_pairs(features, reference, rows, with_itself=True) / total**2
        distance = np.where(total**2 > squares, within - 2 * between, np.nan)
    return float(distance[0]) if weights is None else distance


def _sum_of_pairs(x: np.ndarray, y: np.ndarray, weights: np.ndarray, *, with_itself: bool) -> np.ndarray:
    """Sum the kernel over all pairs of rows in each replicate, with or without pairs of equal position: (R,)."""
    kernel = x @ y.T
    kernel /= x.shape[1]
    kernel += 1
    kernel **= 3  # (N, N)
    if not with_itself:
        np.fill_diagonal(kernel, 0)
    every = np.ones(len(x), bool)
    return replicate_by_block(lambda block: np.einsum("rn,rn->r", block @ kernel, block), weights, every)


def _checked(features: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features, reference = np.asarray(features, np.float64), np.asarray(reference, np.float64)
    if features.ndim != 2 or reference.ndim != 2 or features.shape[1] != reference.shape[1]:
        raise ValueError(f"features must be (N, D) and (M, D); found {features.shape} and {reference.shape}.")
    return features, reference


def _distance(scored: Scored, kind: str, suffix: str) -> Statistics:
    """FID or KID of a system's images against the real references of the same journeys."""
    replicates = len(scored.weights)
    if suffix not in scored.features:
        return {OVERALL: unknown(replicates, NO_IMAGENET if suffix else NO_FEATURES)}
    mine, real = scored.features[suffix]
    known = np.zeros(len(mine), bool)
    if mine.shape == real.shape and mine.shape[1]:
        known = np.isfinite(mine).all(axis=1) & np.isfinite(real).all(axis=1)
    if known.sum() < 2:
        return {OVERALL: unknown(replicates, "fewer than 2 images with features")}
    if kind == "fid":
        values = np.full(replicates, np.nan)
        values[0] = compute_fid(mine[known], real[known])
        return {OVERALL: Statistic(values, int(known.sum()), NO_INTERVAL)}
    first = np.flatnonzero(known)[:MOST_IN_KID]
    values = np.asarray(compute_kid(mine[first], real[first], weights=scored.weights[:, first]))
    note = f"of the first {MOST_IN_KID} journeys" if known.sum() > MOST_IN_KID else ""
    return {OVERALL: Statistic(values, len(first), note)}


def _set_measure(kind: str, suffix: str, title: str, meaning: str, *, terminal: str = "") -> Measure:
    return Measure(
        key=kind + suffix,
        title=title,
        meaning=meaning,
        compute=lambda scored: _distance(scored, kind, suffix),
        topic=REAL,
        lower_is_better=True,
        of_sets=True,
        terminal=terminal,
    )


FEATURE_SETS = (
    _set_measure(
        "fid",
        "",
        "FID",
        "Distance of the pictures as a set from the real references, by the judge's features. It depends"
        " on how many there are: compare within this page only.",
    ),
    _set_measure(
        "kid",
        "",
        "KID",
        "The same as a kernel distance, which does not depend on how many there are.",
        terminal="KID",
    ),
    _set_measure(
        "fid",
        IMAGENET,
        "FID, ImageNet's features",
        "By the usual network of FID, which was not trained on radiographs.",
    ),
    _set_measure("kid", IMAGENET, "KID, ImageNet's features", "The same as a kernel distance."),
)
