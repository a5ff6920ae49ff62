"""Contours of the six structures over radiographs, as in the paper's Fig. 5; SVG is sharp at any size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from biomedjourney_monai.evaluation.judges.scores import Judges
from biomedjourney_monai.radiographs import mark_synthetic
from biomedjourney_monai.radiographs.marking import MIN_SIDE
from biomedjourney_monai.radiographs.pictures.html import picture_uri
from biomedjourney_monai.schema import STRUCTURES

FINE = 4
"""Points per pixel that a contour is drawn from."""

MIN_POINTS = 12
"""Contours of fewer fine points are specks."""


@dataclass(frozen=True)
class Outlined:
    """One image of size (H, W) with the SVG paths of `schema.STRUCTURES`, "" where the judge finds none.

    `goal` holds the reference's paths, drawn beneath; empty for the reference itself and for the prior. `dice` is the
    mean Dice with the reference; None where it is unknown.
    """

    caption: str
    uri: str
    size: tuple[int, int]
    paths: Sequence[str]
    goal: Sequence[str] = ()
    dice: float | None = None


def outline(
    images: Mapping[str, np.ndarray], judges: Judges, *, goal: str, compared: Sequence[str], dice: Mapping[str, float]
) -> list[Outlined]:
    """Segment the structures in images of one size, caption -> float32 (H, W) in [0, 1].

    `compared` names the images that systems made: they get the contours of `goal`, the reference, too, and are marked
    as synthetic after they are segmented. `dice` is the mean Dice with the reference by caption.
    """
    batch = torch.from_numpy(np.stack(list(images.values())).astype(np.float32))[:, None]  # (B, 1, H, W)
    masks = judges.score(batch.clamp(0, 1)).structures.numpy()  # (B, 6, H, W)
    paths = {caption: [contour_path(mask) for mask in own] for caption, own in zip(images, masks)}
    return [
        Outlined(
            caption=caption,
            uri=picture_uri(marked_if_large(image) if caption in compared else image),
            size=image.shape,
            paths=paths[caption],
            goal=paths[goal] if caption in compared else (),
            dice=dice.get(caption),
        )
        for caption, image in images.items()
    ]


def marked_if_large(image: np.ndarray) -> np.ndarray:
    """The image with the mark of synthetic images, unless it is too small for it."""
    return mark_synthetic(image) if min(image.shape) >= MIN_SIDE else image


def contour_path(mask: np.ndarray) -> str:
    """Draw a mask's outer contours as an SVG path.

    Args:
        mask: bool, shape (H, W).

    Returns:
        The path's `d`, in pixels, with the pixel (row, column) covering [column, column + 1] × [row, row + 1].

    Example:
        >>> contour_path(np.zeros((8, 8), bool))
        ''
    """
    height, width = mask.shape
    fine = cv2.resize(mask.astype(np.float32), (width * FINE, height * FINE), interpolation=cv2.INTER_LINEAR)
    fine = cv2.GaussianBlur(fine, (0, 0), FINE)
    contours, _ = cv2.findContours((fine > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    parts = []
    for contour in contours:
        if len(contour) < MIN_POINTS:
            continue
        points = (cv2.approxPolyDP(contour, 0.6, True)[:, 0] + 0.5) / FINE
        parts.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z")
    return "".join(parts)


def structure_classes() -> list[tuple[str, str]]:
    """CSS class and name of each structure."""
    return [(f"s{n}", name) for n, name in enumerate(STRUCTURES)]
