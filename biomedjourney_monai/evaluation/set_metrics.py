"""What features tell: FID and KID of each system, re-identification of its priors, and nearness to training targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas
import torch
from tqdm import tqdm

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.evaluation.further import unknown
from biomedjourney_monai.evaluation.judges.feature_bank import FeatureBank, extract_known
from biomedjourney_monai.evaluation.judges.loading import Judges
from biomedjourney_monai.evaluation.metrics.feature_sets import compute_fid, compute_kid
from biomedjourney_monai.evaluation.metrics.neighbours import nearest_likeness, rank_of_own
from biomedjourney_monai.evaluation.summary import OVERALL, Statistic, Summary
from biomedjourney_monai.evaluation.systems.baselines import CopyPrior, RealReference
from biomedjourney_monai.evaluation.systems.sources import read_picture
from biomedjourney_monai.files import read_table
from biomedjourney_monai.schema import PAIR_COLUMNS, PAIRS_FILE

MOST_IN_KID = 2000
"""Journeys that KID compares pair by pair; of more, the first so many."""

NO_INTERVAL = "no interval: sets drawn again with repetitions lie farther apart by themselves"


def training_targets(
    work: Path, judges: Judges, *, limit: int, seed: int = 0, batch_size: int = 32
) -> tuple[np.ndarray, np.ndarray]:
    """Read the real next images of training journeys, which a model may have learned by heart.

    Args:
        work: the working folder.
        judges: give the features.
        limit: at most so many, drawn at random.
        seed: of the draw.

    Returns:
        Features, shape (M, D), NaN where an image cannot be read; and whose they are, shape (M,).
    """
    pairs = read_table(work / PAIRS_FILE, columns=PAIR_COLUMNS, made_by="register")
    chosen = pairs[(pairs["split"] == "train") & pairs["kept"].astype(bool)]
    if len(chosen) > limit:
        chosen = chosen.sample(limit, random_state=seed)
    blocks = []
    for start in tqdm(range(0, len(chosen), batch_size), desc="training targets", unit="batch"):
        images = [_read(work, file) for file in chosen["new_image"].iloc[start : start + batch_size]]
        shape = next((image.shape for image in images if image is not None), (1, 1))
        good = np.array([image is not None and image.shape == shape for image in images])
        stack = np.stack([image if fits else np.zeros(shape, np.float32) for image, fits in zip(images, good)])
        blocks.append(extract_known(judges.features, torch.from_numpy(stack)[:, None], good))
    width = max((block.shape[1] for block in blocks), default=0)
    blocks = [block if block.shape[1] else np.full((len(block), width), np.nan) for block in blocks]
    return np.concatenate([np.zeros((0, width)), *blocks]), chosen["subject_id"].to_numpy()


def _read(work: Path, file: str) -> np.ndarray | None:
    try:
        return read_picture(work, file)
    except ImageError:
        return None


def neighbour_columns(
    bank: FeatureBank,
    system: str,
    patients: np.ndarray,
    *,
    targets: tuple[np.ndarray, np.ndarray] | None = None,
) -> pandas.DataFrame:
    """Compare a system's features with the priors', and with the training targets' if they are given.

    Args:
        bank: has seen the system, the priors and the references.
        system: its name.
        patients: who each journey belongs to, shape (N,).
        targets: of `training_targets`.

    Returns:
        identity: 1 where one's own prior is the nearest, else 0; identity_reciprocal: 1 / its rank; and with targets
        training_likeness: of the nearest target; memorised: 1 where that is more than of any real reference.
    """
    own, priors = bank.of(system), bank.of(CopyPrior.name)
    ranks, _ = rank_of_own(own, priors, patients)
    columns = {"identity overall": np.where(np.isfinite(ranks), ranks == 1, np.nan)}
    columns["identity_reciprocal overall"] = 1 / ranks
    if targets is not None and len(targets[0]):
        gallery, owners = targets
        of_real = nearest_likeness(bank.of(RealReference.name), gallery, patients=patients, gallery_patients=owners)
        likeness = nearest_likeness(own, gallery, patients=patients, gallery_patients=owners)
        columns["training_likeness overall"] = likeness
        if np.isfinite(of_real).any():
            most = np.nanmax(of_real)
            columns["memorised overall"] = np.where(np.isfinite(likeness), likeness > most, np.nan)
    return pandas.DataFrame(columns)


def summarise_sets(bank: FeatureBank | None, system: str, *, weights: np.ndarray, suffix: str, without: str) -> Summary:
    """Compute FID and KID of a system's images against the real references of the same journeys.

    Args:
        bank: has seen both; None where there is no network.
        system: the system's name.
        weights: of `draw_patient_weights`, shape (1 + R, N).
        suffix: of the metrics' names.
        without: the reason where there is no bank.
    """
    names = [f"{name}{suffix}" for name in ("fid", "kid")]
    if bank is None:
        return {name: {OVERALL: unknown(len(weights), without)} for name in names}
    mine, real = bank.of(system), bank.of(RealReference.name)
    known = np.zeros(len(mine), bool)
    if mine.shape == real.shape and mine.shape[1]:
        known = np.isfinite(mine).all(axis=1) & np.isfinite(real).all(axis=1)
    if known.sum() < 2:
        return {name: {OVERALL: unknown(len(weights), "fewer than 2 images with features")} for name in names}
    fid = np.full(len(weights), np.nan)
    fid[0] = compute_fid(mine[known], real[known])
    few = np.flatnonzero(known)[:MOST_IN_KID]
    kid = compute_kid(mine[few], real[few], weights=weights[:, few])
    note = f"of the first {MOST_IN_KID} journeys" if known.sum() > MOST_IN_KID else ""
    values = (Statistic(fid, int(known.sum()), NO_INTERVAL), Statistic(kid, len(few), note))
    return {name: {OVERALL: statistic} for name, statistic in zip(names, values)}
