"""From a network's features: FID and KID, distances of sets of images; nearest images: identity, memorisation."""

import numpy as np
import pandas

from biomedjourney_monai.evaluation.metrics.measure import COPIED, KEPT, REAL, Measure, Scored
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


NO_TARGETS = "no training targets were read: pass --training-targets"

RIVALS = 49
"""Other patients' priors among which the own one is looked for, besides the one among all."""

BLOCK = 256
"""Rows that are compared at once, so that memory does not grow with the square of the number of images."""


def rank_of_own(features: np.ndarray, gallery: np.ndarray, patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rank each image's own prior among the priors of other patients by likeness.

    Likeness is the cosine of the features, standardised by the gallery's mean and spread. `features` of the images and
    `gallery` of the priors are of the same N journeys, shape (N, D); a row with NaN has no rank, or is not ranked.

    Returns:
        The rank, 1 for the nearest, ties to the image's disadvantage, shape (N,), NaN where unknown; and among how many
        priors, shape (N,).
    """
    places, gallery, features = _standardised(features, gallery)
    patients = np.asarray(patients)
    ranks, among = np.full(len(features), np.nan), np.zeros(len(features), int)
    for start in range(0, len(features), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(features)))
        likeness = features[rows] @ gallery.T
        rival = (patients[rows][:, None] != patients[None]) & places[None]
        own = likeness[np.arange(len(rows)), rows]
        known = np.isfinite(own)
        ahead = ((likeness >= own[:, None]) & rival).sum(axis=1)
        among[rows] = rival.sum(axis=1) + 1
        ranks[rows[known]] = 1 + ahead[known]
    return ranks, among


def chance_of_first(ranks: np.ndarray, among: np.ndarray, *, rivals: int = RIVALS) -> np.ndarray:
    """The chance that the own prior is the nearest if only some rivals, drawn at random, stand beside it.

    Args:
        ranks: of `rank_of_own`, shape (N,).
        among: how many priors there were, the own one included, shape (N,).
        rivals: drawn; fewer where there are fewer.

    Returns:
        In [0, 1], shape (N,), exact: the share of all draws without a rival that is ahead; NaN where there is no rank.
    """
    chance = np.where(np.isfinite(ranks), 1.0, np.nan)
    ahead, others = np.nan_to_num(ranks, nan=1) - 1, np.asarray(among, np.float64) - 1
    for drawn in range(rivals):
        left = others - drawn
        with np.errstate(invalid="ignore", divide="ignore"):
            chance *= np.where(left > 0, np.clip((left - ahead) / left, 0, 1), 1)
    return chance


def nearest_likeness(
    features: np.ndarray, gallery: np.ndarray, *, patients: np.ndarray, gallery_patients: np.ndarray
) -> np.ndarray:
    """Find the likeness of each image, (N, D), to the nearest image of another patient in a gallery, (M, D).

    Returns:
        The cosine of standardised features, shape (N,), at most 1; NaN where unknown or no image of another patient is
        in the gallery.
    """
    places, gallery, features = _standardised(features, gallery)
    nearest = np.full(len(features), np.nan)
    for start in range(0, len(features), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(features)))
        others = (np.asarray(patients)[rows][:, None] != np.asarray(gallery_patients)[None]) & places[None]
        likeness = np.where(others, features[rows] @ gallery.T, -np.inf)
        best = likeness.max(axis=1, initial=-np.inf)
        nearest[rows] = np.where(np.isfinite(best), best, np.nan)
    return nearest


def _standardised(features: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which rows of the gallery are known, and both sets standardised and of length 1; unknown rows are NaN."""
    features, gallery = np.asarray(features, np.float64), np.asarray(gallery, np.float64)
    if features.ndim != 2 or gallery.ndim != 2 or features.shape[1] != gallery.shape[1]:
        raise ValueError(f"features must be (N, D) and (M, D); found {features.shape} and {gallery.shape}.")
    known = np.isfinite(gallery).all(axis=1)
    if not known.any():
        return known, np.full_like(gallery, np.nan), np.full_like(features, np.nan)
    mean, spread = gallery[known].mean(axis=0), gallery[known].std(axis=0)
    spread = np.where(spread > 1e-6, spread, np.inf)  # a feature that never varies has no weight
    with np.errstate(invalid="ignore", divide="ignore"):
        sets = [(x - mean) / spread for x in (gallery, features)]
        gallery, features = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in sets)
    return known, gallery, features


def neighbour_columns(
    features: np.ndarray,
    priors: np.ndarray,
    references: np.ndarray,
    patients: np.ndarray,
    *,
    targets: tuple[np.ndarray, np.ndarray] | None = None,
) -> pandas.DataFrame:
    """Compare a system's images with the priors, and with training targets if they are given.

    All features are of the same journeys, shape (N, D). `targets` are features of training targets, shape (M, D), and
    their patients, shape (M,).

    Returns:
        identity: 1 where the own prior is the nearest, else 0; identity_of_50: the chance of that among 50
        priors; identity_reciprocal: 1 / its rank; and with targets
        training_likeness: to the nearest target; memorised: 1 where that is above the highest of the real references.
    """
    ranks, among = rank_of_own(features, priors, patients)
    columns = {
        "identity overall": np.where(np.isfinite(ranks), ranks == 1, np.nan),
        "identity_of_50 overall": chance_of_first(ranks, among),
        "identity_reciprocal overall": 1 / ranks,
    }
    if targets is not None and len(targets[0]):
        gallery, owners = targets
        real, mine = (
            nearest_likeness(images, gallery, patients=patients, gallery_patients=owners)
            for images in (references, features)
        )
        columns["training_likeness overall"] = mine
        if np.isfinite(real).any():
            columns["memorised overall"] = np.where(np.isfinite(mine), mine > np.nanmax(real), np.nan)
    return pandas.DataFrame(columns)


IDENTITY = (
    Measure(
        key="identity",
        title="Same patient, first guess",
        meaning="Among the priors of all patients, how often a picture's own prior is the most like it.",
        without=NO_FEATURES,
        topic=KEPT,
        terminal="own prior nearest",
    ),
    Measure(
        key="identity_of_50",
        title="Same patient, of 50",
        meaning="How often a picture's own prior is the most like it among 50 priors: its own and 49 of other patients."
        " Unlike the number among all patients, it does not depend on how many were scored.",
        without=NO_FEATURES,
        topic=KEPT,
        terminal="own of 50",
    ),
    Measure(
        key="identity_reciprocal",
        title="Same patient, by rank",
        meaning="The mean of 1/rank of a picture's own prior among the priors of all patients.",
        without=NO_FEATURES,
        topic=KEPT,
    ),
)
MEMORISATION = (
    Measure(
        key="training_likeness",
        title="Likeness to training images",
        meaning="Likeness to the nearest image of a training journey of another patient. Neither end is best.",
        without=NO_TARGETS,
        topic=COPIED,
        has_best=False,
    ),
    Measure(
        key="memorised",
        title="Memorised",
        meaning="Share of pictures that are nearer to a training image than any real reference is.",
        without=NO_TARGETS,
        topic=COPIED,
        lower_is_better=True,
        terminal="memorised",
    ),
)
