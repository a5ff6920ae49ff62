"""The Counterfactual Medical Image Generation (CMIG) score: accuracy and retention in one number."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from biomedjourney_monai.evaluation.metrics.auroc import (
    PATHOLOGY_AUROC,
    RACE_AUROC,
    SEX_AUROC,
    compute_finding_aurocs,
    compute_group_aurocs,
)
from biomedjourney_monai.evaluation.metrics.correlation import AGE_R, compute_pearson_r
from biomedjourney_monai.evaluation.metrics.dice import DICE_REFERENCE
from biomedjourney_monai.evaluation.metrics.measure import PAPER, Measure, Scored
from biomedjourney_monai.evaluation.metrics.row_metric import RowMetric, RowMetricHandler, known_mean
from biomedjourney_monai.evaluation.metrics.statistic import OVERALL, Statistic, Statistics, noted

Term = float | np.ndarray
Terms = Mapping[str, Term] | Sequence[Term]
"""Measurements by name, or in a sequence. Each may be an array of replicates; all must then have one shape."""


def compute_cmig(accuracy: Terms, retention: Terms) -> float | np.ndarray:
    """Compute sqrt(gm(accuracy) * gm(retention)), with gm the geometric mean.

    The score has the unit of its terms: percent in, percent out; fractions in, a fraction out. Do not mix the two.
    A negative term, which only a correlation can be, counts as 0 and makes the score 0; `clamped_terms` names it.

    Args:
        accuracy: how well the image shows what was asked for, e.g. the mean pathology AUROC. At least one term.
        retention: how much of the patient is kept, e.g. race AUROC and the Pearson r of age. At least one term.

    Returns:
        The score, or an array of scores where the terms are arrays; NaN where a term is NaN.

    Raises:
        ValueError: if either side has no term.

    Source: Gu et al. 2023, BiomedJourney, section 4. The scores that the paper prints do not follow from this
    definition and its printed terms, so compare only scores that this function computed.

    Example:
        >>> round(compute_cmig([80.54], [97.22, 79.38]), 2)
        84.11
    """
    score = np.sqrt(_geometric_mean(accuracy, "accuracy") * _geometric_mean(retention, "retention"))
    return float(score) if score.ndim == 0 else score


def compute_cmig_with_dice(accuracy: Terms, retention: Terms, dice: Term) -> float | np.ndarray:
    """Compute the three-term variant: CMIG with the anatomy Dice as one more retention term.

    An extension, not the paper's definition. `dice` has the unit of the other terms.
    """
    return compute_cmig(accuracy, [*_values(retention), dice])


def clamped_terms(terms: Mapping[str, float]) -> list[str]:
    """Name the terms below 0, which `compute_cmig` counts as 0."""
    return [name for name, value in terms.items() if value < 0]


def _geometric_mean(terms: Terms, side: str) -> np.ndarray:
    values = _values(terms)
    if not values:
        raise ValueError(f"{side} must have at least one term; found none.")
    stacked = np.clip(np.stack([np.asarray(value, dtype=np.float64) for value in values]), 0, None)
    with np.errstate(divide="ignore"):
        return np.exp(np.log(stacked).mean(axis=0))


def _values(terms: Terms) -> list[Term]:
    return list(terms.values()) if isinstance(terms, Mapping) else list(terms)


class CMIGMetric(RowMetric):
    """The CMIG of mean pathology AUROC, macro race AUROC and the Pearson r of age.

    `y_pred` holds the judges' outputs in columns, shape (B, F + G + 1): F finding probabilities, G race probabilities,
    one age. `y` holds the truth, shape (B, F + 2): F labels, the race group, the age; NaN for unknown.

    Args:
        num_findings: F.
    """

    def __init__(self, num_findings: int = 5) -> None:
        super().__init__()
        self.num_findings = num_findings

    def rows_of(self, y_pred: Tensor, y: Tensor) -> Tensor:
        if y.shape[1] != self.num_findings + 2 or y_pred.shape[1] < self.num_findings + 3:
            raise ValueError(
                f"y must be (B, {self.num_findings + 2}) and y_pred (B, {self.num_findings} + groups + 1); "
                f"found {tuple(y.shape)} and {tuple(y_pred.shape)}."
            )
        return torch.cat([y.float(), y_pred.float()], dim=1)

    def aggregate(self) -> Tensor:
        pathology, retention, _ = self._terms(num_structures=0)
        return torch.tensor(compute_cmig([pathology], retention))

    def _terms(self, *, num_structures: int) -> tuple[float, list[Term], np.ndarray]:
        """Mean pathology AUROC, the retention terms, and the columns after the age, (N, num_structures)."""
        f = self.num_findings
        truth, scores = np.split(self.rows(), [f + 2], axis=1)
        scores, dice = np.split(scores, [scores.shape[1] - num_structures], axis=1)
        pathology = known_mean(compute_finding_aurocs(scores[:, :f], truth[:, :f]))
        race = known_mean(compute_group_aurocs(scores[:, f:-1], truth[:, f]))
        return pathology, [race, compute_pearson_r(scores[:, -1], truth[:, f + 1])], dice


class CMIGWithDiceMetric(CMIGMetric):
    """The three-term variant of CMIG, with the mean Dice over structures as one more retention term.

    `y_pred` is that of `CMIGMetric` followed by Dice against the reference, shape (B, F + G + 1 + S).

    Args:
        num_findings: F.
        num_structures: S.
    """

    def __init__(self, num_findings: int = 5, num_structures: int = 6) -> None:
        super().__init__(num_findings)
        self.num_structures = num_structures

    def aggregate(self) -> Tensor:
        pathology, retention, dice = self._terms(num_structures=self.num_structures)
        known = np.isfinite(dice).any(axis=0)
        mean = known_mean(np.nanmean(dice[:, known], axis=0))
        return torch.tensor(compute_cmig_with_dice([pathology], retention, mean))


class CMIG(RowMetricHandler):
    """Ignite handler of `CMIGMetric`."""

    metric = CMIGMetric


class CMIGWithDice(RowMetricHandler):
    """Ignite handler of `CMIGWithDiceMetric`."""

    metric = CMIGWithDiceMetric


def _combine(scored: Scored, *, with_dice: bool) -> Statistics:
    """Combine the statistics of the measures that CMIG is made of, replicate by replicate."""
    terms: list[Statistic] = [scored.statistics(measure)[OVERALL] for measure in (PATHOLOGY_AUROC, RACE_AUROC, AGE_R)]
    by_sex = not terms[1].known
    if by_sex:
        terms[1] = scored.statistics(SEX_AUROC)[OVERALL]
    pathology, person, age = (term.values for term in terms)
    clamped = clamped_terms({"age r": float(age[0])})
    notes = [f"{name} is negative and counts as 0" for name in clamped]
    note = "; ".join((["by sex, since no group is known"] if by_sex and terms[1].known else []) + notes)
    score = compute_cmig([pathology], [person, age])
    if with_dice:
        terms.append(scored.statistics(DICE_REFERENCE)[OVERALL])
        score = compute_cmig_with_dice([pathology], [person, age], terms[-1].values)
    return {OVERALL: noted(score, min(term.count for term in terms), "a term is unknown", note)}


CMIG_MEASURE = Measure(
    key="cmig",
    title="CMIG",
    meaning="Accuracy and retention in one number: the geometric mean of the findings' AUROC on one side and, on the"
    " other, the geometric mean of group AUROC (sex AUROC where no group is known) and"
    " age r. A system must do both to score high.",
    compute=lambda scored: _combine(scored, with_dice=False),
    section=PAPER,
    headline=True,
    combined=True,
    in_differences=True,
    terminal="CMIG",
    ablation="CMIG",
    paper="CMIG",
    tuning={"overall": "CMIG"},
)
CMIG_WITH_DICE = Measure(
    key="cmig_with_dice",
    title="CMIG with anatomy",
    meaning="CMIG with the anatomy overlap as a third measure of retention. An extension, not the paper's definition.",
    compute=lambda scored: _combine(scored, with_dice=True),
    section=PAPER,
    combined=True,
)
