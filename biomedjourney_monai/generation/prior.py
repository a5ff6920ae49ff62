"""A prior radiograph that has been read: from a file, from an array, or from an upload."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from biomedjourney_monai.errors import ImageError, SettingError
from biomedjourney_monai.generation.provenance import content_hash
from biomedjourney_monai.radiographs import load_radiograph, original_size
from biomedjourney_monai.radiographs.film import Film, read_film
from biomedjourney_monai.radiographs.read.marked_files import carries_mark
from biomedjourney_monai.radiographs.read.pixels import named_in_header, read_warnings
from biomedjourney_monai.radiographs.scaling import letterbox, scale_intensity

if TYPE_CHECKING:
    import pydicom


@dataclass(frozen=True)
class Prior:
    """A prior radiograph, as the model sees it.

    Attributes:
        image: float32 in [0, 1], shape (S, S), bright is dense.
        original_hw: height and width of the original, in pixels.
        file: the original; None for an image in memory.
        is_marked: whether the original's metadata say that this package generated it.
        other_body_part: the part of the body that a DICOM original names; "" for the chest.
        view_position: ViewPosition of a DICOM original, such as "PA" or "AP"; "" if unknown.
        warnings: sentences for the user about how the original was read.
        source: attributes of a DICOM original that a counterfactual copies; None where they are read from `file`.
        pixels: the original at its own size; None where it is read from `file` when it is needed.
    """

    image: np.ndarray = field(repr=False)
    original_hw: tuple[int, int]
    file: Path | None = field(default=None, repr=False)
    is_marked: bool = False
    other_body_part: str = ""
    view_position: str = ""
    warnings: tuple[str, ...] = ()
    source: pydicom.Dataset | None = field(default=None, repr=False)
    pixels: Film | None = field(default=None, repr=False)

    @property
    def has_film(self) -> bool:
        """Whether the original's own pixels are known."""
        return self.pixels is not None or self.file is not None

    @cached_property
    def film(self) -> Film | None:
        """The original at its own size, read at the first use; None if it is not known.

        Raises:
            ImageError: if the file cannot be read any more.
        """
        if self.pixels is not None or self.file is None:
            return self.pixels
        return read_film(self.file, size=len(self.image))

    @property
    def content_hash(self) -> str:
        """Sixteen hexadecimal digits that identify the image."""
        return content_hash(self.image)


def read_prior(prior: Prior | str | Path | np.ndarray, *, size: int) -> Prior:
    """Read a JPEG, PNG, NIfTI or DICOM file, or pixels of shape (H, W), bright is dense, on any scale.

    `size` is the side of the model's square, in pixels.

    Raises:
        ImageError: if it cannot be read; `reason` is a code.
        SettingError: if it is of another type.
    """
    if isinstance(prior, Prior):
        return prior
    if isinstance(prior, np.ndarray):
        if prior.ndim != 2 or not np.isfinite(prior).all():
            raise ImageError("a prior must be a 2-D array of finite numbers", found=f"shape {prior.shape}")
        image, content = letterbox(prior.astype(np.float32), size=size)
        square, hw = scale_intensity(image, content), (prior.shape[0], prior.shape[1])
        return Prior(square, hw, pixels=Film.of_pixels(prior, size=size))
    if not isinstance(prior, (str, Path)):
        raise SettingError("prior", "must be a path or an array", found=type(prior).__name__)
    file = Path(prior)
    return Prior(
        load_radiograph(file, size=size, any_body_part=True),
        original_size(file, any_body_part=True),
        file,
        carries_mark(file),
        *named_in_header(file),
        read_warnings(file),
    )
