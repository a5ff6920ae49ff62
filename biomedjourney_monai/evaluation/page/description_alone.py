"""How much of the new report's labels the descriptions give away: they are written from that report."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas

from biomedjourney_monai.evaluation.metrics.auroc import compute_finding_aurocs
from biomedjourney_monai.evaluation.metrics.labels import finding_labels
from biomedjourney_monai.preparation.descriptions.request import read_request
from biomedjourney_monai.schema import FINDINGS

PRESENT = {"new": 1.0, "worse": 1.0, "better": 1.0, "same": 1.0, "possible": 0.5, "resolved": 0.0, "absent": 0.0}


@dataclass(frozen=True)
class GivenAway:
    """Mean AUROC over the findings, of our own reader's answers; no image is looked at.

    Attributes:
        description: of the description alone; what it does not mention counts as absent.
        with_prior: the same, but what it does not mention counts as in the prior's labels.
    """

    description: float
    with_prior: float


def score_descriptions(journeys: pandas.DataFrame, descriptions: Mapping[str, str]) -> GivenAway | None:
    """Read the descriptions of scored journeys, by journey_id, and compare with the labels; None without any."""
    told = journeys[journeys["journey_id"].isin(set(descriptions))]
    if told.empty:
        return None
    before, after = finding_labels(told)  # (N, 5)
    said = np.full(after.shape, np.nan)
    for n, journey in enumerate(told["journey_id"]):
        for change in read_request(descriptions[journey]).changes:
            if change.label in FINDINGS:
                said[n, FINDINGS.index(change.label)] = PRESENT[change.kind]
    unsaid = np.isnan(said)
    alone, with_prior = np.where(unsaid, 0.0, said), np.where(unsaid, np.nan_to_num(before, nan=0.5), said)
    aurocs = [compute_finding_aurocs(scores, after) for scores in (alone, with_prior)]
    means = [float(np.mean(each[np.isfinite(each)])) if np.isfinite(each).any() else float("nan") for each in aurocs]
    return GivenAway(*means) if np.isfinite(means).all() else None
