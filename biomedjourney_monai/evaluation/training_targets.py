"""Features of the real next images of training journeys, which a model may have memorised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.evaluation.judges.feature_bank import extract_known
from biomedjourney_monai.evaluation.judges.scores import Judges
from biomedjourney_monai.evaluation.systems.sources import read_picture
from biomedjourney_monai.files import read_table
from biomedjourney_monai.schema import PAIR_COLUMNS, PAIRS_FILE


def training_targets(
    work: Path, judges: Judges, *, limit: int, seed: int = 0, batch_size: int = 32
) -> tuple[np.ndarray, np.ndarray]:
    """Read at most `limit` training targets, drawn at random, and extract their features.

    Returns:
        Features, shape (M, D), NaN where an image cannot be read; and their patients, shape (M,).
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
        fitted = [np.zeros(shape, np.float32) if image is None or image.shape != shape else image for image in images]
        blocks.append(extract_known(judges.features, torch.from_numpy(np.stack(fitted))[:, None], good))
    width = max((block.shape[1] for block in blocks), default=0)
    blocks = [block if block.shape[1] else np.full((len(block), width), np.nan, np.float32) for block in blocks]
    return np.concatenate([np.zeros((0, width)), *blocks]), chosen["subject_id"].to_numpy()


def _read(work: Path, file: str) -> np.ndarray | None:
    try:
        return read_picture(work, file)
    except ImageError:
        return None
