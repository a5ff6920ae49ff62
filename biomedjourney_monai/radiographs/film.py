"""A radiograph at its own size, with the values that its file stores: unchanged pixels are written as they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from biomedjourney_monai.radiographs.read import dicom, photographs
from biomedjourney_monai.radiographs.read.dicom_header import is_dicom
from biomedjourney_monai.radiographs.read.pixels import read_bytes, read_pixels
from biomedjourney_monai.radiographs.scaling import intensity_limits, letterbox

FULL_8_BIT = (0.0, 255.0)

ROWS_AT_ONCE = 64  # of a look-up, whose indices then stay in the processor's cache
CELLS_PER_LEVEL = 16  # of the table that finds stored values; one in ten pixels is then searched for


@dataclass(frozen=True)
class Film:
    """The pixels of a file, upright.

    Attributes:
        stored: shape (H, W): uint8 of an 8-bit picture, integers of a DICOM file, float32 otherwise.
        limits: the displayed values that are 0 and 1 in the model's grey scale.
        levels: the displayed value of each stored value from `lowest` on, float32, never falling or never rising; None
            where the stored values themselves are displayed.
        lowest: the lowest stored value.
        padding: pixels that DICOM leaves out of the display, bool, shape (H, W); None if there are none.
    """

    stored: np.ndarray = field(repr=False)
    limits: tuple[float, float]
    levels: np.ndarray | None = field(default=None, repr=False)
    lowest: int = 0
    padding: np.ndarray | None = field(default=None, repr=False)

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.stored.shape[0], self.stored.shape[1]

    @property
    def shown(self) -> tuple[float, float]:
        """The displayed values that are 0 and 1 in `grey`: those of 8 bits, or the model's limits."""
        return FULL_8_BIT if self.levels is None and self.stored.dtype == np.uint8 else self.limits

    @property
    def scale(self) -> float:
        """How much of `grey` a step of 1 in the model's grey scale is."""
        return (self.limits[1] - self.limits[0]) / (self.shown[1] - self.shown[0])

    def grey(self) -> np.ndarray:
        """The film as it is shown: float32 in [0, 1], shape (H, W), bright is dense."""
        low, high = self.shown
        shown = self.stored.astype(np.float32) if self.levels is None else self.levels.copy()
        shown -= np.float32(low)
        shown /= np.float32(high - low)
        np.clip(shown, 0, 1, out=shown)
        return shown if self.levels is None else self._look_up(shown)

    def displayed(self) -> np.ndarray:
        """The displayed values, float32, shape (H, W), on the file's own scale; a copy."""
        return self.stored.astype(np.float32) if self.levels is None else self._look_up(self.levels)

    def _look_up(self, levels: np.ndarray) -> np.ndarray:
        """The level of every stored value, and the lowest of them as padding."""
        values = np.empty(self.hw, np.float32)
        for top in range(0, len(values), ROWS_AT_ONCE):
            rows = slice(top, top + ROWS_AT_ONCE)
            np.take(levels, self.stored[rows].astype(np.intp) - self.lowest, out=values[rows], mode="clip")
        if self.padding is not None and not self.padding.all():
            values[self.padding] = values[~self.padding].min()
        return values

    def to_stored(self, picture: np.ndarray) -> np.ndarray:
        """Stored values that are shown as a picture; where it equals `grey`, exactly those of the film.

        Args:
            picture: float32 in [0, 1], shape (H, W).

        Returns:
            Shape (H, W), of the type of `stored`.
        """
        changed = picture != self.grey()
        low, high = self.shown
        values = picture[changed] * np.float32(high - low) + np.float32(low)
        if self.levels is not None:
            values = _find_stored(values, self.levels, self.lowest)
        stored = self.stored.copy()
        stored[changed] = np.rint(values).astype(stored.dtype) if stored.dtype.kind in "iu" else values
        return stored

    def arrays(self) -> dict[str, np.ndarray]:
        """As plain arrays, for another process; `from_arrays` undoes it."""
        facts = {"film_stored": self.stored, "film_limits": np.array([*self.limits, self.lowest], np.float64)}
        optional = {"film_levels": self.levels, "film_padding": self.padding}
        return facts | {name: array for name, array in optional.items() if array is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Film":
        """The film of `arrays`."""
        low, high, lowest = (float(number) for number in arrays["film_limits"])
        levels, padding = arrays.get("film_levels"), arrays.get("film_padding")
        return cls(arrays["film_stored"], (low, high), levels, int(lowest), padding)

    @classmethod
    def of_pixels(cls, pixels: np.ndarray, *, size: int) -> "Film":
        """The film of an array, shape (H, W), on any scale; uint8 is shown as it is.

        `size` is the side of the model's square.
        """
        stored = pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32)
        return cls(stored, _limits(stored.astype(np.float32), size))


def read_film(path: str | Path, *, size: int) -> Film:
    """Read a JPEG, PNG, NIfTI or DICOM file at its own size.

    Args:
        path: the file.
        size: side of the model's square, in pixels, on which the limits of the grey scale are measured.

    Raises:
        ImageError: as `load_radiograph`.
    """
    data = read_bytes(path)
    if is_dicom(data):
        decoded = dicom.decode_levels(data, any_body_part=True)
        if decoded is not None:
            stored, levels, lowest = decoded
            film = Film(stored.values, FULL_8_BIT, levels, lowest, stored.padding)
            return replace(film, limits=_limits(film.displayed(), size))
    pixels = read_pixels(path, any_body_part=True)
    if photographs.is_photograph(data):
        seen = read_pixels(path, at_least=2 * size)  # as the model's picture is read
        is_8_bit = bool(pixels.max() <= FULL_8_BIT[1])
        return Film(cv2.convertScaleAbs(pixels) if is_8_bit else pixels, _limits(seen, size))
    return Film(pixels, _limits(pixels, size))


def _limits(pixels: np.ndarray, size: int) -> tuple[float, float]:
    low, high = intensity_limits(*letterbox(pixels, size=size))
    return float(low), float(high)


def _find_stored(values: np.ndarray, levels: np.ndarray, lowest: int) -> np.ndarray:
    """The stored values, int32, that are shown as displayed values, float32, shape (n,).

    As `exact` is slow for many pixels, a table answers for the cells of the displayed scale that hold one answer.
    """
    level, first = np.unique(levels, return_index=True)

    def exact(shown: np.ndarray) -> np.ndarray:
        return np.rint(np.interp(shown, level, first) + lowest).astype(np.int32)

    count, per_level = CELLS_PER_LEVEL * len(level), CELLS_PER_LEVEL * len(level) / float(level[-1] - level[0])
    below, above = (exact(level[0] + (np.arange(count) + edge) / per_level) for edge in (-0.25, 1.25))
    table = np.where(below == above, below, np.iinfo(np.int32).min)
    cells = ((values - level[0]) * np.float32(per_level)).astype(np.int32)
    found = table[np.clip(cells, 0, count - 1, out=cells)]
    unclear = found == np.iinfo(np.int32).min
    found[unclear] = exact(values[unclear])
    return found
