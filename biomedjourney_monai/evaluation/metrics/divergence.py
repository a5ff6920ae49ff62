"""The Kullback-Leibler divergence between what the judge sees in the reference and in the generated image."""

import numpy as np
import torch
from torch import Tensor

from biomedjourney_monai.evaluation.judges.judged import Batch, Judged, Scorer
from biomedjourney_monai.evaluation.metrics.measure import PAPER, REAL, Measure, Scored
from biomedjourney_monai.evaluation.metrics.row_metric import RowMetric, RowMetricHandler, known_mean
from biomedjourney_monai.evaluation.metrics.statistic import OVERALL, Statistics, mean_of, noted

SMALLEST_PROBABILITY = 1e-6
"""Probabilities are clipped to [1e-6, 1 - 1e-6], so that one certain judge cannot make the mean infinite."""


def compute_kl(reference: np.ndarray, generated: np.ndarray, *, form: str = "categorical") -> np.ndarray:
    """Compute sum_i p_i log(p_i / q_i) per image, in nats.

    Args:
        reference: the judge's probabilities p on the real reference image, shape (N, F), in [0, 1].
        generated: its probabilities q on the generated image, same shape.
        form: "categorical" divides the F probabilities of an image by their sum, so that p and q are each one
            distribution over the findings, which the formula needs; "binary" takes each finding as present or
            absent and adds the F divergences. The paper does not say how it normalised.

    Returns:
        Shape (N,), >= 0; NaN where a probability is NaN.

    Source: Gu et al. 2023, BiomedJourney, appendix A.2.
    """
    if form not in ("categorical", "binary"):
        raise ValueError(f"form must be 'categorical' or 'binary'; found {form!r}.")
    p, q = (
        np.clip(np.asarray(x, np.float64), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
        for x in (reference, generated)
    )
    if p.shape != q.shape or p.ndim != 2:
        raise ValueError(f"reference and generated must be of one shape (N, F); found {p.shape} and {q.shape}.")
    if form == "categorical":
        p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
        terms = p * np.log(p / q)
    else:
        terms = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    return np.maximum(terms.sum(axis=1), 0)


class KLMetric(RowMetric):
    """The mean divergence of the judge's findings from those in the reference.

    `y_pred` holds the probabilities on the scored image, shape (B, F), `y` those on the reference, same shape; rows
    with NaN are left out of the mean.

    Args:
        form: as in `compute_kl`.
    """

    def __init__(self, form: str = "categorical") -> None:
        super().__init__()
        self.form = form

    def rows_of(self, y_pred: Tensor, y: Tensor) -> Tensor:
        return torch.from_numpy(compute_kl(y.cpu().numpy(), y_pred.cpu().numpy(), form=self.form))[:, None]  # (B, 1)

    def aggregate(self) -> Tensor:
        return torch.tensor(known_mean(self.rows()))


class KL(RowMetricHandler):
    """Ignite handler of `KLMetric`."""

    metric = KLMetric


class Divergence(Scorer):
    """Divergence of the findings from those in the reference, in both forms."""

    columns = ("kl", "kl_binary")

    def measure(self, judged: Judged, batch: Batch) -> np.ndarray:
        """In nats; NaN where the reference is unknown."""
        p, q = batch.reference.scores.pathology.numpy(), judged.scores.pathology.numpy()
        values = np.column_stack([compute_kl(p, q), compute_kl(p, q, form="binary")])
        return np.where(batch.reference.good[:, None], values, np.nan)


def _mean(scored: Scored, column: str) -> Statistics:
    mean = mean_of(scored.scores[column].to_numpy(), scored.weights, "")
    return {OVERALL: noted(mean.values, mean.count, "no image")}


KL_CATEGORICAL = Measure(
    key="kl",
    title="KL divergence",
    meaning="How far the classifier's view of the picture is from its view of the real next image: sum of p log(p/q)"
    " over five findings, each image's probabilities divided by their sum. 0 is best.",
    compute=lambda scored: _mean(scored, "kl"),
    section=PAPER,
    lower_is_better=True,
    in_differences=True,
    terminal="KL",
)
KL_BINARY = Measure(
    key="kl_binary",
    title="KL divergence, finding by finding",
    meaning="The other reading of the paper's formula: each finding counts as present or absent with its own"
    " probability, and the five divergences are added.",
    compute=lambda scored: _mean(scored, "kl_binary"),
    section=PAPER,
    topic=REAL,
    lower_is_better=True,
)
