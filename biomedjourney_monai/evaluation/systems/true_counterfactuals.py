"""True counterfactuals, which only rendered patients have: same visit, same noise, other findings."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import cv2
import numpy as np
import pandas

from biomedjourney_monai.errors import ImageError, TableError
from biomedjourney_monai.radiographs import load_radiograph
from biomedjourney_monai.schema import STRUCTURES

TABLE = "truth.csv"
COLUMNS = ("prior_dicom_id", "new_study_id", "file")


@dataclass(frozen=True)
class TrueCounterfactuals:
    """The folder truth/ that `biomedjourney phantom --truth` writes, as a system.

    Attributes:
        folder: holds truth.csv, and a PNG and the exact masks for each prior image and later study.
        size: side of the pictures in pixels, as in the working folder.
    """

    folder: Path
    size: int = 128
    name: str = "true counterfactual"
    meaning: str = "The prior visit rendered again with the new findings and nothing else changed: what was asked for."

    @cached_property
    def files(self) -> dict[tuple[str, str], str]:
        """(prior_dicom_id, new_study_id) -> file name.

        Raises:
            TableError: if truth.csv is missing or lacks a column.
        """
        try:
            table = pandas.read_csv(self.folder / TABLE, dtype=str)
            return {(prior, new): Path(file).name for prior, new, file in table[list(COLUMNS)].itertuples(index=False)}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TableError(
                f"{self.folder / TABLE} must have the columns {', '.join(COLUMNS)}",
                found=type(error).__name__,
                action="Write it with `biomedjourney phantom --truth`",
            ) from error

    def checked(self) -> "TrueCounterfactuals":
        """Itself, after truth.csv is read, so that a missing table ends a run at its start.

        Raises:
            TableError: as `files`.
        """
        _ = self.files
        return self

    def path(self, journey: Mapping[str, Any]) -> Path:
        """The picture's file.

        Raises:
            ImageError: if the table names none.
        """
        file = self.files.get((str(journey["prior_dicom_id"]), str(journey["new_study_id"])))
        if file is None:
            raise ImageError("a journey must have a true counterfactual", found="none in truth.csv")
        return self.folder / file

    def has(self, journey: Mapping[str, Any]) -> bool:
        """Whether the table names a picture of this journey, and the picture and its masks are there."""
        try:
            path = self.path(journey)
        except ImageError:
            return False
        return path.is_file() and path.with_suffix(".npz").is_file()

    def image(self, journey: Mapping[str, Any]) -> np.ndarray:
        """The picture, float32 (size, size) in [0, 1].

        Raises:
            ImageError: if there is none, or it cannot be read.
        """
        return load_radiograph(self.path(journey), size=self.size)

    def masks(self, journey: Mapping[str, Any]) -> np.ndarray:
        """The exact masks of `schema.STRUCTURES`, bool, shape (6, size, size).

        Raises:
            ImageError: if there are none, or the file cannot be used.
        """
        try:
            with np.load(self.path(journey).with_suffix(".npz"), allow_pickle=False) as content:
                masks = content["masks"].astype(np.float32)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise ImageError("a true counterfactual must have its masks", found=type(error).__name__) from error
        if masks.ndim != 3 or len(masks) != len(STRUCTURES):
            raise ImageError("masks must be of shape (6, S, S)", found=f"shape {masks.shape}")
        return np.stack([cv2.resize(m, (self.size, self.size), interpolation=cv2.INTER_AREA) > 0.5 for m in masks])
