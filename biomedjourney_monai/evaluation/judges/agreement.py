"""Agreement of the judges over several samples of one request."""

from collections.abc import Sequence

import numpy as np

from biomedjourney_monai.schema import FINDINGS

THRESHOLD = 0.5


def agreement_of(
    pathology: np.ndarray, *, findings: Sequence[str] = FINDINGS, threshold: float = THRESHOLD
) -> dict[str, dict[str, float]]:
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
    seen = (scores > threshold).mean(axis=0)
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
