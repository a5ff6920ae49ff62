"""The Kullback-Leibler divergence between what the judge sees in the reference and in the generated image."""

from __future__ import annotations

import numpy as np

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
