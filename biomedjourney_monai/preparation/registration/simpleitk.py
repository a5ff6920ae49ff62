"""Find a transform with SimpleITK: Mattes mutual information under content masks, three levels of a pyramid.

At 256 px sparser samples or an earlier end (10 % instead of 20 %, steps of 0.01 instead of 0.001) halve the time, but
lose pairs: one or two of 14 real ones fall below the threshold, and one known motion in fifty is not found.
"""

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
BSPLINE_MESH = 8
BSPLINE_ITERATIONS = 100

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
    method = _search(fixed, moving, prior_content, new_content, transform=transform, seed=seed)
    return _execute(method, fixed, moving)


def find_deformation(
    prior: np.ndarray, new: np.ndarray, prior_content: np.ndarray, new_content: np.ndarray, *, seed: int
) -> sitk.Transform:
    """Find a similarity and, on top of it, a B-spline. This erases disease; see `registration`.

    Arguments and errors as for `find_transform`. The result is a composite transform: the similarity first in the file.
    """
    fixed, moving = _image(prior), _image(new)
    linear = find_transform(prior, new, prior_content, new_content, transform="similarity", seed=seed)
    method = sitk.ImageRegistrationMethod()
    _measure_with(method, fixed, prior_content, new_content, seed=seed)
    method.SetMovingInitialTransform(linear)
    method.SetInitialTransform(sitk.BSplineTransformInitializer(fixed, [BSPLINE_MESH] * 2), inPlace=False)
    method.SetOptimizerAsLBFGSB(numberOfIterations=BSPLINE_ITERATIONS)
    spline = _execute(method, fixed, moving)
    return sitk.CompositeTransform([linear, spline])


def count_iterations(
    prior: np.ndarray,
    new: np.ndarray,
    prior_content: np.ndarray,
    new_content: np.ndarray,
    *,
    transform: str,
    seed: int,
) -> list[int]:
    """How many iterations `find_transform` takes at each level, the coarsest first."""
    fixed, moving = _image(prior), _image(new)
    method = _search(fixed, moving, prior_content, new_content, transform=transform, seed=seed)
    counts = [0] * len(SHRINK_FACTORS)

    def count() -> None:
        counts[method.GetCurrentLevel()] += 1

    method.AddCommand(sitk.sitkIterationEvent, count)
    _execute(method, fixed, moving)
    return counts


def _search(
    fixed: sitk.Image,
    moving: sitk.Image,
    prior_content: np.ndarray,
    new_content: np.ndarray,
    *,
    transform: str,
    seed: int,
) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    _measure_with(method, fixed, prior_content, new_content, seed=seed)
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
    return method


def _measure_with(
    method: sitk.ImageRegistrationMethod,
    fixed: sitk.Image,
    prior_content: np.ndarray,
    new_content: np.ndarray,
    *,
    seed: int,
) -> None:
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(HISTOGRAM_BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(_sampled_share(fixed.GetNumberOfPixels()), seed)
    method.SetMetricFixedMask(_mask(prior_content))
    method.SetMetricMovingMask(_mask(new_content))
    method.SetInterpolator(sitk.sitkLinear)


def _execute(method: sitk.ImageRegistrationMethod, fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    try:
        with _one_thread():
            found = method.Execute(fixed, moving).Downcast()
    except RuntimeError as error:  # all samples fell outside the moving image's content
        raise ImageError("two images must overlap to be registered", found="no common content") from error
    if isinstance(found, sitk.CompositeTransform):  # of a single one; nested ones cannot be written to a file
        found = found.GetNthTransform(found.GetNumberOfTransforms() - 1).Downcast()
    return found


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
