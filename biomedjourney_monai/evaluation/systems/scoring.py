"""Score every image of every system with the judges, one batch of journeys at a time."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas
import torch
from tqdm import tqdm

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.evaluation.judges.judged import Batch, Judged, Row, Scorer
from biomedjourney_monai.evaluation.judges.scores import GROUP, Judges, on_grid, score_safely
from biomedjourney_monai.evaluation.metrics.auroc import PATHOLOGY_COLUMNS, RACE_COLUMNS, SEX_COLUMN
from biomedjourney_monai.evaluation.metrics.correlation import AGE_COLUMN
from biomedjourney_monai.evaluation.metrics.dice import AnatomyOverlap
from biomedjourney_monai.evaluation.metrics.divergence import Divergence
from biomedjourney_monai.evaluation.systems.sources import CopyPrior, RealReference, System, read_picture
from biomedjourney_monai.memory import give_back_freed_memory

SCORES_FILE = "scores.parquet"
"""Next to metrics.json: the scores of each journey and system."""

JUDGE_COLUMNS = [*PATHOLOGY_COLUMNS, *RACE_COLUMNS, AGE_COLUMN]
PAPER_SCORERS = (Divergence(), AnatomyOverlap())
SCORE_COLUMNS = [*JUDGE_COLUMNS, *(column for scorer in PAPER_SCORERS for column in scorer.columns)]
"""One row per journey and system: the judges' scores, and those that the paper's metrics need."""


@dataclass
class Remarks:
    """Failures of a system's images.

    Attributes:
        failures: how many were not scored, by reason.
        resized: how many had another size than the first of their batch and were resampled to it.
    """

    failures: Counter[str] = field(default_factory=Counter)
    resized: int = 0


def score_systems(
    journeys: pandas.DataFrame,
    systems: Sequence[System],
    judges: Judges,
    *,
    work: Path,
    scorers: Sequence[Scorer] = (),
) -> tuple[dict[str, pandas.DataFrame], dict[str, Remarks]]:
    """Score the systems on the same journeys. Memory holds one batch of images, whatever the number of journeys.

    The reference and the prior are read in any case. Each further scorer adds its columns.

    Returns:
        System name -> scores, columns SCORE_COLUMNS, sex and the scorers', index journey_id; NaN where an image could
        not be scored; and system name -> how many images failed, by reason, and how many were resampled.
    """
    remarks = {system.name: Remarks() for system in systems}
    scorers = [*PAPER_SCORERS, *scorers]
    columns = [*JUDGE_COLUMNS, SEX_COLUMN, *(column for scorer in scorers for column in scorer.columns)]
    values = {system.name: np.full((len(journeys), len(columns)), np.nan) for system in systems}
    with tqdm(total=len(journeys), desc="judging", unit="journey") as bar:
        for start in range(0, len(journeys), GROUP):
            rows = records(journeys.iloc[start : start + GROUP])
            anchors: dict[str, Judged] = {}
            for anchor in (RealReference(work), CopyPrior(work)):
                anchors[anchor.name] = _judge(anchor, rows, judges, remarks.get(anchor.name, Remarks()))
            reference, prior = anchors.values()
            valid = torch.stack([valid_mask(work, row, reference.scores.structures.shape[-2:]) for row in rows])
            batch = Batch(rows, prior=prior, reference=reference, judges=judges, valid=valid)
            for scorer in scorers:
                scorer.begin(batch)
            for system in systems:
                judged = anchors.get(system.name) or _judge(system, rows, judges, remarks[system.name])
                mine = judged.scores
                scores = [
                    mine.as_columns().numpy(),
                    mine.sex[:, None].numpy(),
                    *(scorer.measure(judged, batch) for scorer in scorers),
                ]
                table = np.column_stack(scores).astype(np.float64)
                table[~judged.good] = np.nan
                values[system.name][start : start + len(rows)] = table
                give_back_freed_memory()
            bar.update(len(rows))
    frames = {
        name: pandas.DataFrame(table, columns=columns, index=journeys["journey_id"]) for name, table in values.items()
    }
    return frames, remarks


def records(journeys: pandas.DataFrame) -> list[Row]:
    """The rows as mappings from column to value."""
    return [{str(name): value for name, value in row.items()} for row in journeys.to_dict("records")]


def _judge(system: System, rows: Sequence[Row], judges: Judges, remarks: Remarks) -> Judged:
    """Score a batch; an image that cannot be read or judged is counted, and its position is marked as not good."""
    images: list[torch.Tensor | None] = []
    for row in rows:
        try:
            images.append(read_finite(system, row))
        except ImageError as error:
            remarks.failures[str(error)] += 1
            images.append(None)
    good = np.array([image is not None for image in images])
    shape = next((image.shape for image in images if image is not None), (128, 128))
    remarks.resized += sum(image is not None and image.shape != shape for image in images)
    batch = torch.stack(
        [(torch.zeros((1, *shape)) if image is None else on_grid(image[None, None], shape)[0]) for image in images]
    ).clamp(0, 1)  # (B, 1, H, W)
    scores, faults = score_safely(judges, batch)
    for place, fault in faults.items():
        if good[place]:
            remarks.failures[fault] += 1
            good[place] = False
    return Judged(system.name, batch, scores, good)


def read_finite(system: System, row: Row) -> torch.Tensor:
    """Read a system's image of a journey, float32 (H, W).

    Raises:
        ImageError: if there is none, or a pixel is not finite.
    """
    image = system.image(row)
    if not np.isfinite(image).all():
        raise ImageError("an image must be finite", found="NaN or infinite pixels")
    return torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))


def valid_mask(work: Path, row: Row, shape: Sequence[int]) -> torch.Tensor:
    """Read where the registered image has content, bool (1, H, W); everywhere if there is no such mask."""
    try:
        mask = read_picture(work, row["valid_mask"]) > 0.5
    except ImageError:
        return torch.ones((1, *shape), dtype=torch.bool)
    return torch.from_numpy(mask)[None] if mask.shape == tuple(shape) else torch.ones((1, *shape), dtype=torch.bool)
