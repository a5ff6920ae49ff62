"""The change of a judge's score by the pixels that raise or lower it, and its picture as in the paper's Fig. 3."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from biomedjourney_monai.evaluation.judges.scores import Judges
from biomedjourney_monai.radiographs.pictures.html import colour_signed, picture_uri
from biomedjourney_monai.schema import FINDINGS

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


SMOOTH = 0.016
"""Standard deviation of the blur, as a share of the image's side: unblurred slopes are noise to the eye."""

FULL = 99.5
"""Percentile of the map's size at which its colour is full."""


@dataclass(frozen=True)
class HeatMap:
    """A picture, the finding it is about, and by how much the judge's logit changes."""

    finding: str
    uri: str
    change: float


def draw_heat_map(
    prior: np.ndarray, counterfactual: np.ndarray, judges: Judges, *, finding: str | None
) -> HeatMap | None:
    """Colour the pixels by how their change moves the judge's logit of one finding: red raises it, blue lowers it.

    Images are float32 (H, W) in [0, 1]. Without a finding, the one whose logit changes most is taken. None where the
    judges' classifier has no gradients.
    """
    logits = getattr(judges, "finding_logits", None)
    if logits is None:
        return None
    before, after = (torch.from_numpy(np.asarray(image, np.float32))[None, None] for image in (prior, counterfactual))
    if finding is None:
        with torch.no_grad():
            change = (logits(after) - logits(before))[0]
        finding = FINDINGS[int(change.abs().argmax())]
    values = change_map(logits, before, after, columns=[FINDINGS.index(finding)])[0].cpu().numpy()
    shown = cv2.GaussianBlur(values, (0, 0), max(SMOOTH * min(values.shape), 0.5))
    full = max(float(np.percentile(np.abs(shown), FULL)), 1e-12)
    return HeatMap(finding, picture_uri(colour_signed(shown, prior, full=full)), float(values.sum()))
