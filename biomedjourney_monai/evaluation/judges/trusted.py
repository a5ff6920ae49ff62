"""Which of a judge's probabilities a user may see, by its measured performance, and their agreement over samples."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.evaluation.judges.domain import KnowsDomain
from biomedjourney_monai.files import read_json
from biomedjourney_monai.schema import FINDINGS

MAX_CALIBRATION_ERROR = 0.25
"""Largest mean distance of probability from frequency, at even odds, that counts as calibrated."""

FEWEST = 10
"""Films with a finding, below which nothing measured of it counts."""

ALMOST_SURE = 1.96
"""Standard errors above 0.5 from which an AUROC is better than chance."""


def trusted_findings(facts: Mapping[str, Any], weights: Mapping[str, str]) -> frozenset[str]:
    """The findings for which a judge was calibrated, and which it tells better than by chance.

    Each finding goes by the split, validate or test, that has more films with it.

    Args:
        facts: the content of NAME_judges.json, as `train-judges --work` writes it.
        weights: file → SHA-256 of the classifier's weights. Facts about other weights prove nothing.
    """
    known = facts.get("files", {})
    if any(known.get(file) != sha256 for file, sha256 in weights.items()):
        return frozenset()
    measured = [(facts.get("films", {}).get(split, 0), marks) for split, marks in facts.get("performance", {}).items()]
    return frozenset(
        finding
        for finding in FINDINGS
        if measured and _is_trusted(*max(measured, key=lambda one: one[1].get(f"positives {finding}", 0)), finding)
    )


def _is_trusted(films: int, marks: Mapping[str, float], finding: str) -> bool:
    positives, auroc = int(marks.get(f"positives {finding}", 0)), marks.get(f"auroc {finding}", math.nan)
    if min(positives, films - positives) < FEWEST:
        return False
    is_calibrated = marks.get(f"calibration error {finding}", math.inf) <= MAX_CALIBRATION_ERROR
    return is_calibrated and auroc - ALMOST_SURE * auroc_error(auroc, positives, films - positives) > 0.5


def auroc_error(auroc: float, positives: int, negatives: int) -> float:
    """The standard error of an AUROC in [0, 1].

    Source: Hanley and McNeil 1982, The meaning and use of the area under a ROC curve.
    """
    square = auroc**2
    of_positives, of_negatives = auroc / (2 - auroc) - square, 2 * square / (1 + auroc) - square
    variance = auroc - square + (positives - 1) * of_positives + (negatives - 1) * of_negatives
    return math.sqrt(max(0.0, variance) / (positives * negatives))


def read_trusted(file: Path, weights: Mapping[str, str]) -> frozenset[str]:
    """`trusted_findings` by NAME_judges.json; none where it is missing or unreadable."""
    try:
        facts = read_json(file, made_by="train-judges")
    except TableError:
        return frozenset()
    return trusted_findings(facts, weights) if isinstance(facts, dict) else frozenset()


def shown_pathology(judges: KnowsDomain, images: Tensor) -> np.ndarray:
    """The judge's probabilities as a user may see them: shape (B, 5), NaN for findings that it is not trusted with.

    `images` have shape (B, 1, H, W) and values in [0, 1].
    """
    with torch.inference_mode():  # without the outlines of structures, which `score` draws too
        seen = np.array(judges.finding_logits(images).sigmoid().cpu().numpy())
    seen[:, [finding not in judges.trusted for finding in FINDINGS]] = np.nan
    return seen


THRESHOLD = 0.5


def agreement_of(pathology: np.ndarray, *, findings: Sequence[str] = FINDINGS) -> dict[str, dict[str, float]]:
    """Summarise the judge's probability of each finding, shape (K, F), over K samples.

    Returns:
        By finding: `mean`, `deviation` (with N - 1; 0 for one sample), `lowest`, `highest`, and `agreement`: the share
        of the samples on the side of the majority, 0.5 to 1. Above the threshold a finding counts as seen.

    Raises:
        ValueError: if the shape does not fit the findings.
    """
    scores = np.asarray(pathology, np.float64)
    if scores.ndim != 2 or scores.shape[1] != len(findings) or len(scores) == 0:
        raise ValueError(f"pathology must be of shape (K, {len(findings)}); found {scores.shape}.")
    seen = (scores > THRESHOLD).mean(axis=0)
    deviation = scores.std(axis=0, ddof=1) if len(scores) > 1 else np.zeros(len(findings))
    rows = zip(findings, scores.mean(axis=0), deviation, scores.min(axis=0), scores.max(axis=0), seen)
    return {
        finding: {
            "mean": round(float(mean), 4),
            "deviation": round(float(spread), 4),
            "lowest": round(float(lowest), 4),
            "highest": round(float(highest), 4),
            "agreement": float(max(share, 1 - share)),
        }
        for finding, mean, spread, lowest, highest, share in rows
    }
