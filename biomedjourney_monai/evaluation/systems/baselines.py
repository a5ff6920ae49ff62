"""The two systems without which a score means nothing: the floor that retains all, and the ceiling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biomedjourney_monai.evaluation.systems.sources import read_picture


@dataclass(frozen=True)
class CopyPrior:
    """Return the prior image unchanged: the best retention there is, and none of the change."""

    work: Path
    name: str = "copy-prior"
    meaning: str = "The prior image, unchanged. It keeps everything of the patient and shows none of the change."

    def image(self, journey: Mapping[str, Any]) -> np.ndarray:
        return read_picture(self.work, journey["prior_image"])


@dataclass(frozen=True)
class RealReference:
    """Return the patient's real next image, registered onto the prior: what the judges say of the truth."""

    work: Path
    name: str = "real reference"
    meaning: str = "The patient's real next image: what the judges say of the truth, the ceiling for the findings."

    def image(self, journey: Mapping[str, Any]) -> np.ndarray:
        return read_picture(self.work, journey["new_image"])
