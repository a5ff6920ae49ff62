"""Pictures side by side with captions: strip and animation. Synthetic pictures are marked in their pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.files import written_atomically
from biomedjourney_monai.radiographs.marking import mark_synthetic
from biomedjourney_monai.radiographs.write.png import to_8_bit

GAP = 4
FONT_SIZE = 11
FRAME_MS = 900


@dataclass(frozen=True)
class Frame:
    """One picture of a strip.

    Attributes:
        image: float in [0, 1], shape (H, W).
        caption: lines drawn below it.
        is_synthetic: whether it gets the synthetic mark; the prior image is marked PRIOR.
    """

    image: np.ndarray
    caption: tuple[str, ...] = ()
    is_synthetic: bool = True

    def marked(self) -> np.ndarray:
        """The picture with its mark, float32."""
        return mark_synthetic(self.image, text="SYNTHETIC" if self.is_synthetic else "PRIOR")


def write_words(*lines: str, width: int) -> np.ndarray:
    """Draw lines of text, white on black, uint8 (height, width); a line that is too long is cut at the edge."""
    font = ImageFont.load_default(size=FONT_SIZE)
    canvas = Image.new("L", (width, (FONT_SIZE + 4) * max(1, len(lines)) + 2), 0)
    pen = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        pen.text((3, 1 + number * (FONT_SIZE + 4)), line, fill=255, font=font)
    return np.asarray(canvas)


def wrap(text: str, *, width: int) -> list[str]:
    """Break a text into lines that fit `width` pixels in `write_words`."""
    font, lines = ImageFont.load_default(size=FONT_SIZE), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width - 6:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def draw_strip(frames: Sequence[Frame]) -> np.ndarray:
    """Lay frames of one size side by side, uint8 (H + words, W · N + gaps).

    Raises:
        ImageError: if there are no frames, or their sizes differ.
    """
    if not frames or len({frame.image.shape for frame in frames}) != 1:
        raise ImageError("a strip needs pictures of one size", found=f"{len(frames)} pictures")
    columns = _columns(frames)
    gap = np.zeros((columns[0].shape[0], GAP), np.uint8)
    return np.hstack([part for column in columns for part in (column, gap)][:-1])


def save_gif(path: str | Path, frames: Sequence[Frame], *, metadata: Mapping[str, object]) -> None:
    """Write a looping animation; the metadata become its comment."""
    first, *others = (Image.fromarray(column) for column in _columns(frames))
    comment = "; ".join(f"{key}={value}" for key, value in metadata.items()).encode("utf-8", "replace")[:60000]
    options = {"save_all": True, "append_images": others, "duration": FRAME_MS, "loop": 0, "comment": comment}
    with written_atomically(path) as temporary:
        first.save(temporary, format="GIF", **options)


def _columns(frames: Sequence[Frame]) -> list[np.ndarray]:
    """Each frame over its words, uint8, all of one height."""
    width = frames[0].image.shape[1]
    lines = [[part for line in frame.caption for part in wrap(line, width=width)] for frame in frames]
    most = max(1, *(len(line) for line in lines))
    padded = [[*own, *[""] * (most - len(own))] for own in lines]
    return [np.vstack([to_8_bit(frame.marked()), write_words(*own, width=width)]) for frame, own in zip(frames, padded)]
