"""The visible mark that every generated picture carries."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from biomedjourney_monai.errors import ImageError

NOT_FOR_DIAGNOSIS = "SYNTHETIC - NOT FOR DIAGNOSIS"
"""For metadata: the PNG text chunk, the DICOM series description."""

MIN_SIDE = 96
LABEL_HEIGHT = 1 / 14
"""As a share of the shorter side. Lung apices lie lower than this on a well-framed chest radiograph."""


def mark_synthetic(image: np.ndarray, text: str = "SYNTHETIC") -> np.ndarray:
    """Burn a small label into the top left corner of a copy, white on black; float32.

    Args:
        image: float in [0, 1], shape (H, W) or (H, W, 3), both sides at least 96 px.
        text: a short word.

    Raises:
        ImageError: if the image is too small for a legible label.
    """
    height, width = image.shape[:2]
    check_markable(height, width)
    label = _draw(text, font_size=max(9, round(min(height, width) * LABEL_HEIGHT)))[:height, :width]
    marked = np.array(image, np.float32)
    marked[: label.shape[0], : label.shape[1]] = label if image.ndim == 2 else label[..., None]
    return marked


def check_markable(height: int, width: int) -> None:
    """Raise an `ImageError` for a picture that is too small for a legible label."""
    if min(height, width) < MIN_SIDE:
        raise ImageError(f"a picture to mark must be at least {MIN_SIDE} px on each side", found=f"{height}×{width}")


def _draw(text: str, *, font_size: int) -> np.ndarray:
    font = ImageFont.load_default(size=font_size)
    left, top, right, bottom = font.getbbox(text)
    margin = max(1, font_size // 8)
    canvas = Image.new("L", (int(right - left) + 2 * margin, int(bottom - top) + 2 * margin), 0)
    ImageDraw.Draw(canvas).text((margin - left, margin - top), text, fill=255, font=font)
    return np.asarray(canvas, np.float32) / 255
