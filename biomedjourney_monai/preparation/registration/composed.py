"""A registration run over composed MONAI transforms, so that a site can put its own steps between the package's."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from biomedjourney_monai.errors import BiomedJourneyError, ConfigError
from biomedjourney_monai.preparation.registration.image_pair import ImagePair
from biomedjourney_monai.preparation.registration.register import Registration
from biomedjourney_monai.preparation.registration.transforms import registration_of
from biomedjourney_monai.radiographs.transforms import content_of

Transform = Callable[[dict[str, Any]], dict[str, Any]]

_NOT_SETTINGS = ("_tracing", "R", "first_call")
"""Attributes of transforms that are state, not settings."""


@dataclass(frozen=True, repr=False)
class ComposedLoader:
    """From a study's file to a square radiograph, by transforms of the entry `image`.

    Args:
        transform: takes {"image": path}; gives float in [0, 1], shape (1, S, S), with `content` in its meta data.
    """

    transform: Transform

    def __call__(self, path: str | Path) -> tuple[np.ndarray, np.ndarray]:
        image = _run(self.transform, {"image": str(path)})["image"]
        array = np.asarray(image, np.float32)
        if array.ndim != 3 or array.shape[0] != 1 or not 0 <= array.min() <= array.max() <= 1:
            raise ConfigError(
                "study transforms must give an image of shape (1, S, S) in [0, 1]",
                found=f"shape {array.shape}, values in [{array.min():g}, {array.max():g}]",
            )
        return array[0], content_of(image)

    def __repr__(self) -> str:
        return f"ComposedLoader({describe(self.transform)})"


@dataclass(frozen=True, repr=False)
class ComposedRegistrar:
    """From two square images to a registration, by transforms of the entries `prior_image` and `new_image`.

    Args:
        transform: takes the two images with `content` in their meta data; includes `RegisterToPriord`.
    """

    transform: Transform

    def __call__(self, pair: ImagePair) -> Registration:
        row = {"prior_image": _tensor(pair.prior, pair.prior_content), "new_image": _tensor(pair.new, pair.new_content)}
        return registration_of(_run(self.transform, row))

    def __repr__(self) -> str:
        return f"ComposedRegistrar({describe(self.transform)})"


def describe(step: Any) -> str:
    """Name a transform and all its settings, so that a changed setting is noticed and an unchanged one is not."""
    if isinstance(step, (list, tuple)):
        return f"[{', '.join(describe(part) for part in step)}]"
    if isinstance(step, dict):
        return f"{{{', '.join(f'{key}: {describe(step[key])}' for key in sorted(step, key=str))}}}"
    if isinstance(step, (np.ndarray, torch.Tensor)):
        array = np.asarray(step)
        return f"array {array.shape} {array.dtype} {hashlib.sha256(array.tobytes()).hexdigest()}"
    if isinstance(step, Compose):
        return f"Compose{describe(step.transforms)}"
    settings = getattr(step, "__dict__", None)
    if settings is None or isinstance(step, type) or callable(getattr(step, "__name__", None)):
        return repr(step)
    shown = {name: value for name, value in settings.items() if name not in _NOT_SETTINGS}
    return f"{type(step).__module__}.{type(step).__qualname__}{describe(shown)}"


def _run(transform: Transform, row: dict[str, Any]) -> dict[str, Any]:
    """Run transforms, and raise the package's own error where MONAI wrapped it into its own."""
    try:
        return transform(row)
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, BiomedJourneyError):
                raise cause from None
            cause = cause.__cause__ or cause.__context__
        raise


def _tensor(image: np.ndarray, content: np.ndarray) -> MetaTensor:
    return MetaTensor(torch.from_numpy(image[None].copy()), meta={"content": torch.from_numpy(content[None].copy())})
