"""Whose image is nearest? Identity: one's own prior among many; memorisation: the nearest training target."""

from __future__ import annotations

import numpy as np

BLOCK = 256
"""Rows that are compared at once, so that memory does not grow with the square of the number of images."""


def rank_of_own(features: np.ndarray, gallery: np.ndarray, patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rank each image's own prior among the priors of other patients by likeness.

    Likeness is the cosine of the features, standardised by the gallery's mean and spread.

    Args:
        features: of the images, shape (N, D); a row with NaN has no rank.
        gallery: of the priors of the same journeys, in the same order, shape (N, D); a row with NaN is left out.
        patients: who each journey belongs to, shape (N,); other priors of the same patient do not compete.

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


def nearest_likeness(
    features: np.ndarray, gallery: np.ndarray, *, patients: np.ndarray, gallery_patients: np.ndarray
) -> np.ndarray:
    """Find how like each image is to the most like of a gallery, none of the same patient's counted.

    Args:
        features: shape (N, D).
        gallery: such as the training targets, shape (M, D).
        patients: shape (N,).
        gallery_patients: shape (M,).

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
    spread = np.where(spread > 1e-6, spread, np.inf)  # a feature that never varies says nothing
    with np.errstate(invalid="ignore", divide="ignore"):
        sets = [(x - mean) / spread for x in (gallery, features)]
        gallery, features = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in sets)
    return known, gallery, features
