"""PSNR and SSIM within a region, and the error against the true counterfactual of a rendered patient."""

import numpy as np
import torch
from monai.metrics.regression import compute_ssim_and_cs
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.evaluation.judges.judged import Batch, Judged, Scorer
from biomedjourney_monai.evaluation.judges.scores import JudgeScores, score_safely
from biomedjourney_monai.evaluation.metrics.dice import compute_structure_dice
from biomedjourney_monai.evaluation.metrics.measure import TRUE, Measure
from biomedjourney_monai.evaluation.systems.true_counterfactuals import TrueCounterfactuals
from biomedjourney_monai.schema import FINDINGS, STRUCTURES

LEAST_SQUARED_ERROR = 1 / (12 * 255**2)
"""The error of rounding to 8 bits, in units of the image's range: no PSNR here is above 58.9 dB."""

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5


def compute_region_psnr(images: Tensor, truth: Tensor, *, region: Tensor | None = None) -> Tensor:
    """Compute the peak signal-to-noise ratio, 10 log10(1 / mean squared error), within a region.

    Args:
        images: shape (B, 1, H, W), in [0, 1].
        truth: same shape.
        region: bool, same shape; None for the whole frame.

    Returns:
        dB, shape (B,), at most 58.9; NaN where the region is empty.

    Raises:
        ValueError: if the shapes differ.
    """
    _require_one_shape(images, truth, region)
    error = region_mean((images - truth).double() ** 2, region)
    return -10 * torch.log10(error.clamp_min(LEAST_SQUARED_ERROR))


def compute_region_ssim(images: Tensor, truth: Tensor, *, region: Tensor | None = None) -> Tensor:
    """Compute the structural similarity, averaged over the windows whose centre lies within a region.

    Windows are Gaussian, 11 pixels wide with sigma 1.5, and lie within the frame.

    Args:
        images: shape (B, 1, H, W), in [0, 1], at least 11 pixels on each side.
        truth: same shape.
        region: bool, same shape; None for the whole frame.

    Returns:
        Shape (B,), at most 1; NaN where no window's centre lies in the region.

    Raises:
        ValueError: if the shapes differ.

    Source: Wang et al. 2004, Image quality assessment: from error visibility to structural similarity.
    """
    _require_one_shape(images, truth, region)
    size, sigma = [SSIM_WINDOW] * 2, [SSIM_SIGMA] * 2
    values, _ = compute_ssim_and_cs(images.float(), truth.float(), 2, size, sigma)
    margin = SSIM_WINDOW // 2
    inner = None if region is None else pad(region, [-margin] * 4)
    return region_mean(values, inner)


def region_mean(values: Tensor, region: Tensor | None) -> Tensor:
    """Average (B, 1, H, W) over a region of each image: shape (B,); NaN where the region is empty."""
    if region is None:
        return values.mean(dim=(1, 2, 3))
    inside = region.sum(dim=(1, 2, 3))
    total = torch.where(region, values, torch.zeros((), dtype=values.dtype)).sum(dim=(1, 2, 3))
    return torch.where(inside > 0, total / inside.clamp_min(1), torch.nan)


def _require_one_shape(images: Tensor, truth: Tensor, region: Tensor | None) -> None:
    shapes = {tuple(tensor.shape) for tensor in (images, truth, region) if tensor is not None}
    if len(shapes) > 1 or images.ndim != 4 or images.shape[1] != 1:
        raise ValueError(f"the tensors must be of one shape (B, 1, H, W); found {sorted(shapes)}.")


CHANGED = 0.08
"""Grey levels, of a range of 1, by which prior and truth must differ for a pixel to be in the changed region."""

REGIONS = ("inside", "outside")

NO_TRUTH = "no true counterfactuals: pass --truth"


def changed_region(prior: Tensor, truth: Tensor, *, threshold: float = CHANGED) -> Tensor:
    """Find where the truth differs from the prior by more than the threshold, after averaging over 3 x 3 pixels.

    Images are of shape (B, 1, H, W), in [0, 1]; the region is bool, same shape.
    """
    smooth = avg_pool2d((truth - prior).float(), 3, stride=1, padding=1, count_include_pad=False)
    return smooth.abs() > threshold


class TruthError(Scorer):
    """PSNR, SSIM, the judges' agreement and Dice of each image against the true counterfactual.

    Args:
        truth: where the true counterfactuals are.
    """

    columns = (
        *(f"{metric} {part}" for metric in ("truth_psnr", "truth_ssim") for part in ("overall", *REGIONS)),
        *(f"truth_agreement {finding}" for finding in FINDINGS),
        *(f"truth_dice {structure}" for structure in STRUCTURES),
        "truth_changed_share overall",
    )

    def __init__(self, truth: TrueCounterfactuals) -> None:
        self.truth = truth

    def begin(self, batch: Batch) -> None:
        """Read and judge the batch's true counterfactuals."""
        size = self.truth.size
        images, masks, known = [], [], []
        for row in batch.rows:
            try:
                images.append(self.truth.image(row))
                masks.append(self.truth.masks(row))
                known.append(True)
            except ImageError:
                images[len(known) :] = [np.zeros((size, size), np.float32)]
                masks.append(np.zeros((len(STRUCTURES), size, size), bool))
                known.append(False)
        self._images = torch.from_numpy(np.stack(images))[:, None]
        self._masks = torch.from_numpy(np.stack(masks))
        scores, faults = score_safely(batch.judges, self._images)
        self._scores: JudgeScores = scores
        self._known = np.array([good and place not in faults for place, good in enumerate(known)])
        self._region = changed_region(batch.prior.images_on((size, size)), self._images)

    def measure(self, judged: Judged, batch: Batch) -> np.ndarray:
        """Compare a system's images with the true counterfactuals."""
        shape = (self.truth.size, self.truth.size)
        images, regions = judged.images_on(shape), (None, self._region, ~self._region)
        errors = [
            compute(images, self._images, region=region).double()
            for compute in (compute_region_psnr, compute_region_ssim)
            for region in regions
        ]
        same = (judged.scores.pathology > 0.5) == (self._scores.pathology > 0.5)
        dice = compute_structure_dice(judged.structures_on(shape), self._masks)
        share = self._region.double().mean(dim=(1, 2, 3))
        values = torch.cat([torch.stack(errors, dim=1), same.double(), dice.double(), share[:, None]], dim=1).numpy()
        values[:, [1, 2, 4, 5, -1]] = np.where(batch.prior.good[:, None], values[:, [1, 2, 4, 5, -1]], np.nan)
        values[~self._known] = np.nan
        return values


MEASURES = (
    Measure(
        key="truth_psnr",
        title="PSNR to the truth",
        meaning="Rendered patients have a true counterfactual: the same visit and noise with only the findings"
        " changed. How near the picture is to it, in decibels; inside and outside the region that had to"
        " change.",
        parts=REGIONS,
        without=NO_TRUTH,
        topic=TRUE,
        unit="dB",
        terminal="PSNR to truth",
        tuning={"inside": "inside, dB", "outside": "outside, dB"},
    ),
    Measure(
        key="truth_ssim",
        title="SSIM to the truth",
        meaning="Likeness of structure with the true counterfactual, 1 is identical; inside and outside the"
        " region that had to change.",
        parts=REGIONS,
        without=NO_TRUTH,
        topic=TRUE,
        terminal="SSIM to truth",
    ),
    Measure(
        key="truth_agreement",
        title="Judge agrees with the truth",
        meaning="How often the judge says the same of the picture as of the true counterfactual, finding by finding.",
        parts=FINDINGS,
        without=NO_TRUTH,
        topic=TRUE,
        terminal="agrees with truth",
    ),
    Measure(
        key="truth_dice",
        title="Anatomy vs truth",
        meaning="Overlap of six structures with the renderer's exact masks (Dice).",
        parts=STRUCTURES,
        without=NO_TRUTH,
        topic=TRUE,
        terminal="Dice to truth",
    ),
    Measure(
        key="truth_changed_share",
        title="Share that had to change",
        meaning="Which share of the picture differs between prior and true counterfactual: a property of the"
        " request, not of the system.",
        without=NO_TRUTH,
        topic=TRUE,
        has_best=False,
    ),
)
