"""Find a transform with SimpleITK: Mattes mutual information under content masks, three levels of a pyramid.

At 256 px, sparser samples or an earlier stop (10 % instead of 20 %, steps of 0.01 instead of 0.001) halve the time but
lose pairs: one or two of 14 real ones fall below the threshold, and one known motion in fifty is not found.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import SimpleITK as sitk  # noqa: N813

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.preparation.registration.image_pair import ImagePair
from biomedjourney_monai.preparation.registration.sitk_transform import make_linear, to_image

HISTOGRAM_BINS = 32
MIN_SAMPLES = 8192
MIN_SAMPLED_SHARE = 0.20
"""The metric samples this share of the pixels, or `MIN_SAMPLES` if that is more: 20 % of a 128 px image are too few and
lose one pair in fifty."""

SHRINK_FACTORS = (4, 2, 1)  # a single level fails on shifts of 10 %
SMOOTHING_SIGMAS = (2.0, 1.0, 0.0)
ITERATIONS = 100
BSPLINE_MESH = 8
BSPLINE_ITERATIONS = 100


def find_transform(pair: ImagePair, *, transform: str, seed: int) -> sitk.Transform:
    """Find the transform from the prior's points to the new image's points, in pixels.

    Args:
        pair: samples are taken from the prior's content, and must fall into the new image's.
        transform: "similarity", "rigid" or "affine".
        seed: of the samples; with one thread, the same seed gives the same bits.

    Raises:
        ImageError: if the optimiser loses the overlap.
    """
    return _execute(_prepare_search(pair, transform=transform, seed=seed), pair)


def find_deformation(pair: ImagePair, *, seed: int) -> sitk.Transform:
    """Find a similarity and a B-spline on top of it, as a composite transform. This erases disease; see `register`."""
    linear = find_transform(pair, transform="similarity", seed=seed)
    method = _new_method(pair, seed=seed)
    method.SetMovingInitialTransform(linear)
    spline = sitk.BSplineTransformInitializer(to_image(pair.prior), [BSPLINE_MESH] * 2)
    method.SetInitialTransform(spline, inPlace=False)
    method.SetOptimizerAsLBFGSB(numberOfIterations=BSPLINE_ITERATIONS)
    return sitk.CompositeTransform([linear, _execute(method, pair)])


def count_iterations(pair: ImagePair, *, transform: str, seed: int) -> list[int]:
    """Count the iterations of `find_transform` at each level, the coarsest first."""
    method = _prepare_search(pair, transform=transform, seed=seed)
    counts = [0] * len(SHRINK_FACTORS)

    def count() -> None:
        counts[method.GetCurrentLevel()] += 1

    method.AddCommand(sitk.sitkIterationEvent, count)
    _execute(method, pair)
    return counts


def _prepare_search(pair: ImagePair, *, transform: str, seed: int) -> sitk.ImageRegistrationMethod:
    method = _new_method(pair, seed=seed)
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
    geometry = sitk.CenteredTransformInitializerFilter.GEOMETRY
    start = sitk.CenteredTransformInitializer(
        to_image(pair.prior), to_image(pair.new), make_linear(transform), geometry
    )
    method.SetInitialTransform(start, inPlace=False)
    return method


def _new_method(pair: ImagePair, *, seed: int) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(HISTOGRAM_BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(min(1.0, max(MIN_SAMPLED_SHARE, MIN_SAMPLES / pair.prior.size)), seed)
    method.SetMetricFixedMask(sitk.GetImageFromArray(pair.prior_content.astype(np.uint8)))
    method.SetMetricMovingMask(sitk.GetImageFromArray(pair.new_content.astype(np.uint8)))
    method.SetInterpolator(sitk.sitkLinear)
    return method


def _execute(method: sitk.ImageRegistrationMethod, pair: ImagePair) -> sitk.Transform:
    try:
        with _one_thread():
            found = method.Execute(to_image(pair.prior), to_image(pair.new)).Downcast()
    except RuntimeError as error:  # all samples fell outside the new image's content
        raise ImageError("two images must overlap to be registered", found="no common content") from error
    if isinstance(found, sitk.CompositeTransform):  # of one part; nested ones cannot be written to a file
        found = found.GetNthTransform(found.GetNumberOfTransforms() - 1).Downcast()
    return found


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums over threads differ in their last bits, and the metric follows only the global number of threads."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
