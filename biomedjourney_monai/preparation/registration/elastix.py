"""Find a transform with elastix. The first use in a process imports itk, which takes some seconds."""

from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from biomedjourney_monai.errors import ConfigError, ImageError
from biomedjourney_monai.preparation.registration.image_pair import ImagePair
from biomedjourney_monai.preparation.registration.sitk_transform import make_linear

RESOLUTIONS = 3
ITERATIONS = 150
SAMPLES = 4096

_KINDS = {"similarity": "SimilarityTransform", "rigid": "EulerTransform", "affine": "AffineTransform"}


def find_transform(pair: ImagePair, *, transform: str, seed: int) -> sitk.Transform:
    """Find the transform from the prior's points to the new image's points; arguments as for SimpleITK's.

    Raises:
        ConfigError: if itk-elastix is not installed.
        ImageError: if too few samples fall into the new image's content.
    """
    try:
        import itk
    except ImportError as error:
        raise ConfigError("--toolkit elastix needs itk-elastix", action="pip install itk-elastix") from error
    try:
        _moved, result = itk.elastix_registration_method(
            itk.image_view_from_array(np.ascontiguousarray(pair.prior, np.float32)),
            itk.image_view_from_array(np.ascontiguousarray(pair.new, np.float32)),
            parameter_object=_parameters(itk, transform, seed),
            fixed_mask=itk.image_view_from_array(pair.prior_content.astype(np.uint8)),
            moving_mask=itk.image_view_from_array(pair.new_content.astype(np.uint8)),
            number_of_threads=1,
            log_to_console=False,
        )
    except RuntimeError as error:
        raise ImageError("two images must overlap to be registered", found="no common content") from error
    parameter_map = result.GetParameterMap(0)
    found: Any = make_linear(transform)
    found.SetCenter([float(value) for value in parameter_map["CenterOfRotationPoint"]])
    found.SetParameters([float(value) for value in parameter_map["TransformParameters"]])
    return found


def _parameters(itk: Any, transform: str, seed: int) -> Any:
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
