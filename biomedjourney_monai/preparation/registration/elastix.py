"""Find a transform with elastix. The first use in a process imports itk, which takes some seconds."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813

from biomedjourney_monai.errors import ConfigError, ImageError

RESOLUTIONS = 3
ITERATIONS = 150
SAMPLES = 4096

_KINDS = {"similarity": "SimilarityTransform", "rigid": "EulerTransform", "affine": "AffineTransform"}


def find_transform(
    prior: np.ndarray,
    new: np.ndarray,
    prior_content: np.ndarray,
    new_content: np.ndarray,
    *,
    transform: str,
    seed: int,
) -> sitk.Transform:
    """Find the transform from the prior's points to the new image's points; arguments as for SimpleITK's."""
    try:
        import itk
    except ImportError as error:
        raise ConfigError("--toolkit elastix needs itk-elastix", action="pip install itk-elastix") from error
    try:
        _moved, result = itk.elastix_registration_method(
            itk.image_view_from_array(np.ascontiguousarray(prior, np.float32)),
            itk.image_view_from_array(np.ascontiguousarray(new, np.float32)),
            parameter_object=_parameters(itk, transform, seed),
            fixed_mask=itk.image_view_from_array(prior_content.astype(np.uint8)),
            moving_mask=itk.image_view_from_array(new_content.astype(np.uint8)),
            number_of_threads=1,
            log_to_console=False,
        )
    except RuntimeError as error:  # too many samples fell outside the moving image's content
        raise ImageError("two images must overlap to be registered", found="no common content") from error
    return _as_simpleitk(result.GetParameterMap(0))


def _parameters(itk, transform: str, seed: int):
    parameters = itk.ParameterObject.New()
    parameter_map = parameters.GetDefaultParameterMap("affine" if transform == "affine" else "rigid", RESOLUTIONS)
    settings = {
        "Transform": _KINDS[transform],
        "Metric": "AdvancedMattesMutualInformation",
        "NumberOfHistogramBins": "32",
        "MaximumNumberOfIterations": str(ITERATIONS),
        "NumberOfSpatialSamples": str(SAMPLES),
        "NewSamplesEveryIteration": "true",
        "RandomSeed": str(seed),
        "AutomaticTransformInitialization": "true",
        "AutomaticTransformInitializationMethod": "GeometricalCenter",
        "WriteResultImage": "false",
        "RequiredRatioOfValidSamples": "0.05",
    }
    for name, value in settings.items():
        parameter_map[name] = (value,)
    parameters.AddParameterMap(parameter_map)
    return parameters


def _as_simpleitk(parameter_map) -> sitk.Transform:
    values = [float(value) for value in parameter_map["TransformParameters"]]
    center = [float(value) for value in parameter_map["CenterOfRotationPoint"]]
    kinds = {
        "SimilarityTransform": sitk.Similarity2DTransform,
        "EulerTransform": sitk.Euler2DTransform,
        "AffineTransform": lambda: sitk.AffineTransform(2),
    }
    found = kinds[parameter_map["Transform"][0]]()
    found.SetCenter(center)
    found.SetParameters(values)
    return found
