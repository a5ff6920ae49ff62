"""The two baselines of every evaluation: the copied prior, and the real next image as the ceiling."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biomedjourney_monai.evaluation.systems.sources import read_picture


@dataclass(frozen=True)
class CopyPrior:
    """The prior image unchanged: full retention, no change."""

    work: Path
    name: str = "copy-prior"
    meaning: str = "The prior image, unchanged. It keeps everything of the patient and shows none of the change."

    def image(self, journey: Mapping[str, Any]) -> np.ndarray:
        """The prior image."""
        return read_picture(self.work, journey["prior_image"])


@dataclass(frozen=True)
class RealReference:
    """The patient's real next image, registered onto the prior."""

    work: Path
    name: str = "real reference"
    meaning: str = "The patient's real next image: what the judges say of the truth, the ceiling for the findings."

    def image(self, journey: Mapping[str, Any]) -> np.ndarray:
        """The registered new image."""
        return read_picture(self.work, journey["new_image"])
