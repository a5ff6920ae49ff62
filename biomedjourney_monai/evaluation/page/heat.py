"""Heat map of the change that the judge sees in a counterfactual, as in the paper's Fig. 3."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from biomedjourney_monai.evaluation.judges.heat_map import change_map
from biomedjourney_monai.evaluation.judges.scores import Judges
from biomedjourney_monai.radiographs.pictures.html import colour_signed, picture_uri
from biomedjourney_monai.schema import FINDINGS

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
