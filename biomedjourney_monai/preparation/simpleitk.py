"""Find a transform with SimpleITK: Mattes mutual information under content masks, three levels of a pyramid."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import SimpleITK as sitk  # noqa: N813

from biomedjourney_monai.errors import ImageError

HISTOGRAM_BINS = 32
MIN_SAMPLES = 8192
MIN_SAMPLED_SHARE = 0.20
"""The metric samples this share of the pixels, or `MIN_SAMPLES` where that is more: 20 % of a 128 px image are too few
and lose one pair in fifty."""

SHRINK_FACTORS = (4, 2, 1)  # a single level fails on shifts of 10 %
SMOOTHING_SIGMAS = (2.0, 1.0, 0.0)
ITERATIONS = 100

_KINDS = {
    "similarity": sitk.Similarity2DTransform,
    "rigid": sitk.Euler2DTransform,
    "affine": lambda: sitk.AffineTransform(2),
}


def find_transform(
    prior: np.ndarray,
    new: np.ndarray,
    prior_content: np.ndarray,
    new_content: np.ndarray,
    *,
    transform: str,
    seed: int,
) -> sitk.Transform:
    """Find the transform from the prior's points to the new image's points, in pixels.

    Args:
        prior: the fixed image, shape (S, S).
        new: the moving image, same shape.
        prior_content: bool, same shape: where samples may be taken.
        new_content: bool, same shape: where they may land.
        transform: "similarity", "rigid" or "affine".
        seed: of the samples; with one thread, the same seed gives the same bits.

    Raises:
        ImageError: if the optimiser loses the overlap.
    """
    fixed, moving = _image(prior), _image(new)
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(HISTOGRAM_BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(_sampled_share(prior.size), seed)
    method.SetMetricFixedMask(_mask(prior_content))
    method.SetMetricMovingMask(_mask(new_content))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetShrinkFactorsPerLevel(SHRINK_FACTORS)
    method.SetSmoothingSigmasPerLevel(SMOOTHING_SIGMAS)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0,
        minStep=1e-3,
        numberOfIterations=ITERATIONS,
        relaxationFactor=0.5,
        gradientMagnitudeTolerance=1e-6,
    )
    method.SetOptimizerScalesFromPhysicalShift()
    start = sitk.CenteredTransformInitializer(
        fixed, moving, _KINDS[transform](), sitk.CenteredTransformInitializerFilter.GEOMETRY
    )
    method.SetInitialTransform(start, inPlace=False)
    try:
        with _one_thread():
            return method.Execute(fixed, moving)
    except RuntimeError as error:  # all samples fell outside the moving image's content
        raise ImageError("two images must overlap to be registered", found="no common content") from error


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums over threads differ in their last bits, and the metric heeds only the global number of threads."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _sampled_share(pixel_count: int) -> float:
    return min(1.0, max(MIN_SAMPLED_SHARE, MIN_SAMPLES / pixel_count))


def _image(array: np.ndarray) -> sitk.Image:
    return sitk.GetImageFromArray(np.ascontiguousarray(array, np.float32))


def _mask(content: np.ndarray) -> sitk.Image:
    return sitk.GetImageFromArray(content.astype(np.uint8))
