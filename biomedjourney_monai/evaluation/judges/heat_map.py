"""Attribution of a change of the judge's score to the pixels that raise or lower it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

POINTS = 16
"""Points between prior and counterfactual at which the judge's gradient is taken."""


def change_map(
    logits: Callable[[Tensor], Tensor], before: Tensor, after: Tensor, *, columns: Sequence[int], points: int = POINTS
) -> Tensor:
    """Attribute the change of a judge's logits to the pixels, by integrated gradients from one image to the other.

    Args:
        logits: differentiable; images (B, 1, H, W) in [0, 1] to logits (B, F).
        before: the image to start from, shape (1, 1, H, W).
        after: the image to end at, same shape.
        columns: indices of the logits.
        points: on the straight line between the images, at the middle of as many equal parts.

    Returns:
        Shape (len(columns), H, W). Positive where the change of the pixel raises the logit. The sum over the pixels is
        the change of the logit, up to the error of the sum over `points`.

    Raises:
        ValueError: if the shapes do not fit.

    Source: Sundararajan et al. 2017, Axiomatic Attribution for Deep Networks, section 3.
    """
    if before.shape != after.shape or before.ndim != 4 or before.shape[:2] != (1, 1):
        raise ValueError(f"images must be of shape (1, 1, H, W), found {tuple(before.shape)} and {tuple(after.shape)}")
    shares = (torch.arange(points, dtype=before.dtype) + 0.5) / points
    path = before + shares.view(-1, 1, 1, 1) * (after - before)  # (points, 1, H, W)
    with torch.enable_grad():
        path = path.detach().requires_grad_(True)
        scores = logits(path)
        slopes = [
            torch.autograd.grad(scores[:, column].sum(), path, retain_graph=True)[0].mean(dim=0) for column in columns
        ]
    return torch.cat([slope * (after - before)[0] for slope in slopes]).detach()  # (len(columns), H, W)
