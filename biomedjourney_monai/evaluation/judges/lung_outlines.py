"""The outlines of both lung fields and of the heart, in rendered and in real frontal films."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from monai.networks.nets import UNet
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from biomedjourney_monai.configuration import locate_root
from biomedjourney_monai.evaluation.judges.phantom import load_weights
from biomedjourney_monai.evaluation.judges.scores import as_batch, on_grid

LUNG_OUTLINES_FILE = "lung_outlines.pt"
OUTLINE_SIZE = 64
"""Side of the images that the network was made for, in pixels."""

OUTLINED = ("left lung field", "right lung field", "heart")
"""The patient's left is image right. A field includes the lung behind heart, fluid and devices."""

THIN = 0.04
"""Parts of an outline narrower than this share of the image are none."""

LEAST_FIELD = 0.02
"""A lung field below this share of the image was not found."""


class OutlineNetwork(nn.Module):
    """MONAI's UNet on 2 x 2 pixel blocks, about 0.3 M parameters; its lowest level sees the whole chest."""

    def __init__(self, *, widths: tuple[int, ...] = (24, 40, 64, 96)) -> None:
        super().__init__()
        strides = (2,) * (len(widths) - 1)
        self.unet = UNet(2, 4, 4 * len(OUTLINED), widths, strides, num_res_units=1, norm="BATCH")

    def forward(self, image: Tensor) -> Tensor:
        """Outline images of shape (B, 1, H, W) in [-1, 1]; returns logits (B, 3, H, W) in the order of OUTLINED."""
        return pixel_shuffle(self.unet(pixel_unshuffle(image, 2)), 2)


@dataclass(frozen=True)
class LungOutlines:
    """The network with its weights; `weights_hash` is their SHA-256."""

    network: OutlineNetwork
    weights_hash: str

    @torch.inference_mode()
    def outline(self, images: Tensor) -> np.ndarray:
        """Outline images of shape (B, 1, H, W) in [0, 1].

        Each field is its largest part, without holes; where none was found it is empty.

        Returns:
            Bool, shape (B, 3, H, W), in the order of OUTLINED.

        Raises:
            ValueError: if the shape is another.
        """
        images = as_batch(images).float()
        small = on_grid(images, (OUTLINE_SIZE, OUTLINE_SIZE))
        shares = on_grid(self.network(small * 2 - 1), images.shape[-2:]).sigmoid().numpy()
        return np.stack([clean_outlines(share) for share in shares])


def load_lung_outlines(folder: str | Path | None = None) -> LungOutlines:
    """Load the weights of a folder; None for the bundle's `models/`.

    Raises:
        WeightsError: if they are missing or do not fit.
    """
    network = OutlineNetwork().eval()
    found = load_weights(network, Path(folder or Path(locate_root()) / "models") / LUNG_OUTLINES_FILE)
    return LungOutlines(network, found)


def clean_outlines(shares: np.ndarray) -> np.ndarray:
    """Turn probabilities into outlines.

    A pixel of both fields goes to the likelier one, then each structure loses its thin parts and keeps its largest one,
    with its holes filled.

    Args:
        shares: shape (3, H, W), 0 to 1.

    Returns:
        Bool, same shape.
    """
    likelier = np.stack([shares[0] >= shares[1], shares[1] > shares[0], np.ones(shares.shape[1:], bool)])
    return np.stack([_largest_part(outline) for outline in (shares > 0.5) & likelier])


def _largest_part(outline: np.ndarray) -> np.ndarray:
    width = max(3, round(THIN * len(outline)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    opened = cv2.morphologyEx(outline.astype(np.uint8), cv2.MORPH_OPEN, disc)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    if count < 2:
        return np.zeros(outline.shape, bool)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    if stats[largest, cv2.CC_STAT_AREA] < LEAST_FIELD * outline.size:
        return np.zeros(outline.shape, bool)
    chosen = (parts == largest).astype(np.uint8)
    edges, _ = cv2.findContours(chosen, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(chosen, edges, -1, 1, cv2.FILLED) > 0
