"""What is done to a study and to a pair, as functions that say what their result depends on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.preparation.registration.register import RETRY_BELOW, Registration, register
from biomedjourney_monai.radiographs import load_with_content


class LoadsStudies(Protocol):
    """From a file to a square radiograph and the mask of its content; its repr names every setting."""

    def __call__(self, path: str | Path) -> tuple[np.ndarray, np.ndarray]: ...


class RegistersPairs(Protocol):
    """From two squares and their contents to a registration; its repr names every setting."""

    def __call__(
        self, prior: np.ndarray, new: np.ndarray, prior_content: np.ndarray, new_content: np.ndarray
    ) -> Registration: ...


@dataclass(frozen=True)
class StudyLoader:
    """Load, letterbox and normalise.

    Args:
        size: side of the square in pixels.
        check_views: refuse what is no upright frontal chest.
    """

    size: int = 128
    check_views: bool = False

    def __call__(self, path: str | Path) -> tuple[np.ndarray, np.ndarray]:
        image, content = load_with_content(path, size=self.size)
        if self.check_views:
            _refuse_other_views(image)
        return image, content


@dataclass(frozen=True)
class PairRegistrar:
    """Register the new image onto the prior; see `register` for the arguments.

    Args:
        check_mirrored: also register the new image mirrored, which takes twice the time; the result itself is never
            mirrored.
    """

    transform: str = "similarity"
    toolkit: str = "simpleitk"
    check_mirrored: bool = False
    accept_erased_disease: bool = False
    seed: int = 1
    retry_below: float = RETRY_BELOW

    def __call__(
        self, prior: np.ndarray, new: np.ndarray, prior_content: np.ndarray, new_content: np.ndarray
    ) -> Registration:
        result = self._register(prior, new, prior_content, new_content)
        if not self.check_mirrored:
            return result
        try:
            mirrored = self._register(prior, new[:, ::-1], prior_content, new_content[:, ::-1]).gradient_correlation
        except ImageError:  # nothing overlaps
            mirrored = -1.0
        return replace(result, mirrored_correlation=mirrored)

    def _register(self, *images: np.ndarray) -> Registration:
        return register(
            *images,
            transform=self.transform,
            toolkit=self.toolkit,
            seed=self.seed,
            retry_below=self.retry_below,
            accept_erased_disease=self.accept_erased_disease,
        )


def _refuse_other_views(image: np.ndarray) -> None:
    from biomedjourney_monai.radiographs.views.check import check_view

    reason = check_view(image).reason
    if reason:
        raise ImageError(
            "a radiograph must be an upright frontal chest",
            found=reason.replace("_", " "),
            reason=f"view check: {reason}",
        )
