"""Nearest images by features: identity, the own prior among many; memorisation, the nearest training target."""

import numpy as np
import pandas

from biomedjourney_monai.evaluation.metrics.feature_sets import NO_FEATURES
from biomedjourney_monai.evaluation.metrics.measure import COPIED, KEPT, Measure

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
