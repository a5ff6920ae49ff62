"""Let the judges look at every image of every system, one batch of journeys at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas
import torch
from tqdm import tqdm

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.evaluation.judges.equal_groups import equal_groups
from biomedjourney_monai.evaluation.judges.judged import Batch, Judged, Measure
from biomedjourney_monai.evaluation.judges.loading import Judges, JudgeScores
from biomedjourney_monai.evaluation.metrics.dice import compute_structure_dice
from biomedjourney_monai.evaluation.metrics.divergence import compute_kl
from biomedjourney_monai.evaluation.metrics.labels import RACE_GROUPS
from biomedjourney_monai.evaluation.systems.baselines import CopyPrior, RealReference
from biomedjourney_monai.evaluation.systems.sources import System, read_picture
from biomedjourney_monai.memory import give_back_freed_memory
from biomedjourney_monai.schema import FINDINGS, STRUCTURES

PATHOLOGY_COLUMNS = [f"pathology {finding}" for finding in FINDINGS]
RACE_COLUMNS = [f"race {group}" for group in RACE_GROUPS]
DICE_REFERENCE_COLUMNS = [f"dice_reference {structure}" for structure in STRUCTURES]
DICE_PRIOR_COLUMNS = [f"dice_prior {structure}" for structure in STRUCTURES]
SCORE_COLUMNS = [
    *PATHOLOGY_COLUMNS,
    *RACE_COLUMNS,
    "age",
    "kl",
    "kl_binary",
    *DICE_REFERENCE_COLUMNS,
    *DICE_PRIOR_COLUMNS,
]
"""One row per journey and system. Dice against the reference counts only pixels that the registered image covers."""


@dataclass
class Remarks:
    """What befell a system's images.

    Attributes:
        failures: how many were not scored, by reason.
        resized: how many had another size than the first of their batch and were resampled to it.
    """

    failures: Counter = field(default_factory=Counter)
    resized: int = 0


def score_systems(
    journeys: pandas.DataFrame,
    systems: Sequence[System],
    judges: Judges,
    *,
    work: Path,
    measures: Sequence[Measure] = (),
    batch_size: int = 8,
) -> tuple[dict[str, pandas.DataFrame], dict[str, Remarks]]:
    """Score the systems on the same journeys. Memory holds one batch of images, whatever the number of journeys.

    Args:
        journeys: rows of pairs.parquet.
        systems: any number; the reference and the prior are read in any case, for KL and Dice.
        work: the folder that the paths of `journeys` start from.
        measures: what else to measure on each image; each adds its columns.

    Returns:
        System name -> scores, columns SCORE_COLUMNS and the measures', index journey_id; NaN where an image could not
        be scored.
        System name -> how many images failed, by reason, and how many were resampled.
    """
    remarks = {system.name: Remarks() for system in systems}
    columns = [*SCORE_COLUMNS, *(column for measure in measures for column in measure.columns)]
    values = {system.name: np.full((len(journeys), len(columns)), np.nan) for system in systems}
    with tqdm(total=len(journeys), desc="judging", unit="journey") as bar:
        for start in range(0, len(journeys), batch_size):
            rows = journeys.iloc[start : start + batch_size].to_dict("records")
            anchors = {
                anchor.name: _judge(anchor, rows, judges, remarks.get(anchor.name, Remarks()))
                for anchor in (RealReference(work), CopyPrior(work))
            }
            reference, prior = anchors.values()
            valid = torch.stack([valid_mask(work, row, reference.scores.structures.shape[-2:]) for row in rows])
            batch = Batch(rows, prior=prior, reference=reference, judges=judges)
            for measure in measures:
                measure.begin(batch)
            for system in systems:
                judged = anchors.get(system.name) or _judge(system, rows, judges, remarks[system.name])
                more = [_measured(measure, judged, batch) for measure in measures]
                values[system.name][start : start + len(rows)] = np.column_stack(
                    [_columns(judged, batch, valid), *more]
                )
                give_back_freed_memory()
            bar.update(len(rows))
    frames = {
        name: pandas.DataFrame(table, columns=columns, index=journeys["journey_id"]) for name, table in values.items()
    }
    return frames, remarks


def _judge(system: System, rows: list[dict], judges: Judges, remarks: Remarks) -> Judged:
    """Score a batch; an image that cannot be read or judged is counted, and its place is marked as not good."""
    images = []
    for row in rows:
        try:
            images.append(read_finite(system, row))
        except ImageError as error:
            remarks.failures[str(error)] += 1
            images.append(None)
    good = np.array([image is not None for image in images])
    shape = next((image.shape for image in images if image is not None), (128, 128))
    remarks.resized += sum(image is not None and image.shape != shape for image in images)
    batch = torch.stack([_fitted(image, shape) for image in images]).clamp(0, 1)  # (B, 1, H, W)
    scores, faults = score_one_by_one_if_need_be(judges, batch)
    for place, fault in faults.items():
        if good[place]:
            remarks.failures[fault] += 1
            good[place] = False
    return Judged(system.name, batch, scores, good)


def _measured(measure: Measure, judged: Judged, batch: Batch) -> np.ndarray:
    """What a measure says of a batch, (B, its columns); NaN where the image is not good."""
    values = np.array(measure.measure(judged, batch), np.float64)
    values[~judged.good] = np.nan
    return values


def read_finite(system: System, row: dict) -> torch.Tensor:
    """Read a system's image of a journey, float32 (H, W).

    Raises:
        ImageError: if there is none, or a pixel is not finite.
    """
    image = system.image(row)
    if not np.isfinite(image).all():
        raise ImageError("an image must be finite", found="NaN or infinite pixels")
    return torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))


def score_one_by_one_if_need_be(judges: Judges, images: torch.Tensor) -> tuple[JudgeScores, dict[int, str]]:
    """Score a batch, shape (B, 1, H, W), in equal groups; where the judges fail on a group, image by image.

    Returns:
        The scores, NaN and empty where the judges failed, and the reason by place in the batch.
    """
    if not len(images):
        return judges.score(images), {}
    parts, faults = [], {}
    for places, group in equal_groups(images):
        try:
            parts.append(_first(judges.score(group), places.stop - places.start))
        except Exception:  # a judge is a foreign network: whatever it raises concerns one image
            for place in range(places.start, places.stop):
                scores, fault = _score_alone(judges, images[place])
                parts.append(scores)
                faults |= {place: fault} if fault else {}
    scores = JudgeScores(*(torch.cat(columns) for columns in zip(*(vars(part).values() for part in parts))))
    unknown = ~torch.isfinite(scores.as_columns()).all(dim=1)
    for place in unknown.nonzero().flatten().tolist():
        faults.setdefault(place, "the judges gave a number that is not finite")
    return scores, faults


def _score_alone(judges: Judges, image: torch.Tensor) -> tuple[JudgeScores, str]:
    """Score one image, (1, H, W); where the judges fail, no scores and the reason."""
    try:
        return judges.score(image[None]), ""
    except Exception as error:
        return _no_scores(image.shape[-2:]), f"the judges failed ({type(error).__name__})"


def _first(scores: JudgeScores, count: int) -> JudgeScores:
    return JudgeScores(*(values[:count] for values in vars(scores).values()))


def _no_scores(shape: Sequence[int]) -> JudgeScores:
    """The scores of one image that the judges failed on."""
    structures = torch.zeros((1, len(STRUCTURES), *shape), dtype=torch.bool)
    nan = torch.nan
    return JudgeScores(
        torch.full((1, len(FINDINGS)), nan), torch.full((1, len(RACE_GROUPS)), nan), torch.full((1,), nan), structures
    )


def _fitted(image: torch.Tensor | None, shape: Sequence[int]) -> torch.Tensor:
    """Bring an image to the batch's shape, (1, H, W); a missing one becomes black."""
    if image is None:
        return torch.zeros((1, *shape))
    if image.shape == torch.Size(shape):
        return image[None]
    return torch.nn.functional.interpolate(image[None, None], size=tuple(shape), mode="bilinear", antialias=True)[0]


def _columns(judged: Judged, batch: Batch, valid: torch.Tensor) -> np.ndarray:
    """Lay a batch's scores out as SCORE_COLUMNS, (B, columns)."""
    scores, reference, prior = judged.scores, batch.reference, batch.prior
    pathology, p = scores.pathology.numpy(), reference.scores.pathology.numpy()
    to_reference = np.column_stack(
        [
            compute_kl(p, pathology),
            compute_kl(p, pathology, form="binary"),
            _dice(scores, reference.scores, valid=valid),
        ]
    )
    to_prior = _dice(scores, prior.scores, valid=None)
    to_reference[~reference.good] = np.nan
    to_prior[~prior.good] = np.nan
    columns = np.column_stack([scores.as_columns().numpy(), to_reference, to_prior]).astype(np.float64)
    columns[~judged.good] = np.nan
    return columns


def _dice(scores: JudgeScores, other: JudgeScores, *, valid: torch.Tensor | None) -> np.ndarray:
    """Compare structures, (B, 6), on the grid of `other`."""
    mine = scores.structures
    if mine.shape != other.structures.shape:
        mine = torch.nn.functional.interpolate(mine.float(), size=other.structures.shape[-2:]) > 0.5
    return compute_structure_dice(mine, other.structures, valid=valid).numpy()


def valid_mask(work: Path, row: dict, shape: Sequence[int]) -> torch.Tensor:
    """Read where the registered image has content, bool (1, H, W); everywhere if there is no such mask."""
    try:
        mask = read_picture(work, row["valid_mask"]) > 0.5
    except ImageError:
        return torch.ones((1, *shape), dtype=torch.bool)
    return torch.from_numpy(mask)[None] if mask.shape == tuple(shape) else torch.ones((1, *shape), dtype=torch.bool)
