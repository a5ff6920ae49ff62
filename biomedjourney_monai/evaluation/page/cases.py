"""The best and the worst journeys, what failed and why, and how much of the labels the descriptions give away."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas

from biomedjourney_monai.evaluation.metrics.auroc import PATHOLOGY_COLUMNS, compute_finding_aurocs
from biomedjourney_monai.evaluation.metrics.labels import changed_only, finding_labels
from biomedjourney_monai.evaluation.page.metrics_csv import metrics_by_system
from biomedjourney_monai.preparation.descriptions.request import read_request
from biomedjourney_monai.schema import FINDINGS

RULE = (
    "among the journeys in which a finding changed, by how far the judge's probabilities of the five findings in the"
    " counterfactual are from what the next report says (mean of the absolute differences, findings in doubt left out)"
)


def rank_cases(journeys: pandas.DataFrame, scores: pandas.DataFrame) -> pandas.DataFrame:
    """Order the journeys in which a finding changed from best to worst; those without a change would be too easy.

    Returns:
        The rows of `journeys` with a change and a score, with a column `distance` in [0, 1], 0 is best.
    """
    known = scores.set_index("journey_id").reindex(journeys["journey_id"])
    before, labels = finding_labels(journeys)
    changed = np.isfinite(changed_only(before, labels)).any(axis=1)
    apart = np.abs(known[PATHOLOGY_COLUMNS].to_numpy(np.float64) - labels)  # (N, 5)
    counted = np.isfinite(apart)
    total = counted.sum(axis=1)
    distance = np.where(counted, apart, 0).sum(axis=1) / np.maximum(total, 1)
    ranked = journeys.assign(distance=distance)[(total > 0) & changed]
    return ranked.sort_values("distance", kind="stable")


def list_failures(metrics: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """(where, reason, how many) of everything that was left out, the most frequent first in each place."""
    rows = [("journeys", reason, count) for reason, count in metrics["counts"]["dropped"].items()]
    for system in metrics["systems"]:
        own = dict(system["failures"])
        if system.get("unmatched"):
            own["named by no journey of the folder"] = system["unmatched"]
        if system.get("resized"):
            own["had another size and was resampled (scored all the same)"] = system["resized"]
        rows += [(system["name"], reason, count) for reason, count in own.items()]
    places = list(dict.fromkeys(row[0] for row in rows))
    return sorted(rows, key=lambda row: (places.index(row[0]), -row[2], row[1]))


def list_unknown(metrics: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    """(metric, reason, systems) of every overall number that is null."""
    found: dict[tuple[str, str], list[str]] = {}
    for system, own in metrics_by_system(metrics).items():
        for name, parts in own.items():
            number = parts.get("overall")
            if number is not None and number["value"] is None:
                found.setdefault((name, str(number.get("note", ""))), []).append(system)
    return [(name, reason, systems) for (name, reason), systems in found.items()]


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
