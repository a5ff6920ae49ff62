"""Warn where a counterfactual hardly differs from what the prior becomes without a change."""

from collections.abc import Callable

import numpy as np

NOTHING_CHANGED = "nothing_changed"
VISIBLE, LITTLE = 0.05, 0.06
"""A result is in doubt if at most this share of its pixels differs from the prior by more than `VISIBLE` grey values,
of a range of 1. Most findings change more, and cost no second drawing."""

TWIN_VISIBLE, TWIN_LITTLE = 0.03, 0.028
"""A result in doubt shows no change if at most this share of its pixels differs by more than `TWIN_VISIBLE` from its
twin, which was drawn with the same noise and the description "Unchanged.". Measured by
`python scripts/benchmarks/requests.py --calibrate`."""


def changed_share(
    before: np.ndarray, squares: np.ndarray, *, visible: float, region: np.ndarray | None = None
) -> np.ndarray:
    """The share of pixels that differ by more than `visible`, shape (K,).

    Args:
        before: float32 in [0, 1], shape (S, S).
        squares: the samples, shape (K, S, S).
        visible: grey values, of a range of 1.
        region: count only where it is above one half, shape (S, S); None for everywhere.
    """
    changed = np.abs(squares - before) > visible
    inside = None if region is None else region > 0.5
    if inside is None or not inside.any():
        return np.asarray(changed.mean(axis=(1, 2)))
    return np.asarray(changed[:, inside].mean(axis=1))


def warn_of_no_change(
    prior: np.ndarray,
    squares: np.ndarray,
    draw_twin: Callable[[int], np.ndarray],
    *,
    region: np.ndarray | None = None,
) -> tuple[str, ...]:
    """A warning for the user if no sample shows more than a description without change does; else nothing.

    Args:
        prior: float32 in [0, 1], shape (S, S).
        squares: the samples, shape (K, S, S).
        draw_twin: draws what the sample of this index becomes without change, shape (S, S); called at most once.
        region: where change was allowed, shape (S, S); None for everywhere.
    """
    shares = changed_share(prior, squares, visible=VISIBLE, region=region)
    most = int(shares.argmax())
    if shares[most] > LITTLE:
        return ()
    twin = draw_twin(most)
    if changed_share(twin, squares[most : most + 1], visible=TWIN_VISIBLE, region=region)[0] > TWIN_LITTLE:
        return ()
    return (
        f"the counterfactual hardly differs from one without change ({NOTHING_CHANGED}): try another wording or seed",
    )
