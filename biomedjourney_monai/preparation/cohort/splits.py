"""Assign patients to train, validate and test. A whole patient is assigned, so no patient is in two splits."""

import hashlib

import pandas as pd


def paper_split(subject_ids: pd.Series, *, validation_share: float = 0.1, seed: int = 0) -> pd.Series:
    """Split as the paper does: subsets p10–p18 train and validate, p19 tests.

    Validation patients are drawn by a hash of the identifier, so adding patients does not move others. Their share of
    p10–p18 is about 0.1 in the paper: 9,354 to 1,056 triples.
    """
    split = pd.Series("train", index=subject_ids.index)
    split[draw_validation(subject_ids, share=validation_share, seed=seed)] = "validate"
    split[subject_ids.str.startswith("19")] = "test"
    return split


def draw_validation(subject_ids: pd.Series, *, share: float, seed: int) -> pd.Series:
    """Whether each patient is drawn for validation, by a hash of seed and identifier."""
    return subject_ids.map({subject: _share(subject, seed) < share for subject in subject_ids.unique()}).astype(bool)


def _share(subject_id: str, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed}:{subject_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
