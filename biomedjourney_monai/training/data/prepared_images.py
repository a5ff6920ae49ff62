"""The images that `biomedjourney register` prepared, as training reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from biomedjourney_monai.errors import ImageError


def read_prepared_image(path: str | Path) -> Tensor:
    """Read a PNG: float32 in [0, 1], shape (H, W).

    Raises:
        ImageError: if it is no readable PNG.
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return torch.from_numpy(np.asarray(image.convert("L"), np.float32) / 255)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(
            "a prepared image must be a readable PNG",
            found=type(error).__name__,
            action="Run `biomedjourney register` again",
        ) from error
