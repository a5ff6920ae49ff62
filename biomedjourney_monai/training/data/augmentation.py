"""Small changes of position and brightness, the same for the prior and the new image. Left stays left."""

import hashlib
import re
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from biomedjourney_monai.errors import ConfigError

ROTATION_DEGREES = 5.0
SHIFT = 0.04
SCALE = 0.05
CONTRAST = 0.1
BRIGHTNESS = 0.05
CROP_SCALE = 1.125
"""InstructPix2Pix's random crop: 256 of up to 288 pixels."""
KINDS = ("none", "crop", "jitter")
SIDES = {"left": "right", "right": "left"}


@dataclass(frozen=True)
class Jitter:
    """One change, applied to both images of a journey.

    Attributes:
        rotation_degrees: counter-clockwise.
        shift_x, shift_y: share of the side, to the right and down.
        scale: above 1 enlarges.
        contrast: factor around mid-grey.
        brightness: added, for a range of 1.
        mirrored: only to reproduce the paper's flip.
    """

    rotation_degrees: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    scale: float = 1.0
    contrast: float = 1.0
    brightness: float = 0.0
    mirrored: bool = False


@dataclass(frozen=True)
class Augmentation:
    """Draws the change of each variant of an image, reproducibly.

    Args:
        kind: "none"; "crop", a window of at least 1 / 1.125 of the side, enlarged; "jitter", a small rotation, shift,
            scaling and change of contrast and brightness.
        seed: of all changes.
        reproduce_paper_flip: mirror every other variant, as the paper did. Image and text then agree on the side, but
            the heart is on the wrong one, and "left" no longer means the patient's left.

    Raises:
        ConfigError: for any other kind.
    """

    kind: str = "none"
    seed: int = 0
    reproduce_paper_flip: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"an augmentation must be one of {', '.join(KINDS)}", found=str(self.kind))

    @property
    def leaves_gaps(self) -> bool:
        """Whether a changed image may have areas without content."""
        return self.kind == "jitter"

    @property
    def changes(self) -> bool:
        """Whether variants differ from each other."""
        return self.kind != "none" or self.reproduce_paper_flip

    def draw(self, name: str, variant: int) -> Jitter:
        """The change of a variant; 0 is the image as it is.

        Args:
            name: what shares one change, e.g. the prior image's file; another name gets another change.
            variant: >= 0.
        """
        change = Jitter()
        if self.kind == "jitter":
            change = draw_jitter(seed=self.seed, name=name, variant=variant)
        elif self.kind == "crop":
            change = draw_crop(seed=self.seed, name=name, variant=variant)
        return replace(change, mirrored=self.reproduce_paper_flip and variant % 2 == 1)


def draw_crop(*, seed: int, name: str, variant: int) -> Jitter:
    """Draw a window inside the image; variant 0 is the whole image. Arguments as of `Augmentation`."""
    if variant == 0:
        return Jitter()
    draws = _draws(seed, name, variant, 3)
    scale = 1 + (CROP_SCALE - 1) * (draws[0] + 1) / 2
    return Jitter(scale=scale, shift_x=draws[1] * (scale - 1) / 2, shift_y=draws[2] * (scale - 1) / 2)


def draw_jitter(*, seed: int, name: str, variant: int) -> Jitter:
    """Draw a change of position and brightness; variant 0 is the image as it is. Arguments as of `Augmentation`."""
    if variant == 0:
        return Jitter()
    draws = _draws(seed, name, variant, 6)
    return Jitter(
        rotation_degrees=ROTATION_DEGREES * draws[0],
        shift_x=SHIFT * draws[1],
        shift_y=SHIFT * draws[2],
        scale=1 + SCALE * draws[3],
        contrast=1 + CONTRAST * draws[4],
        brightness=BRIGHTNESS * draws[5],
    )


def _draws(seed: int, name: str, variant: int, count: int) -> list[float]:
    """Uniform in [-1, 1)."""
    digest = hashlib.sha256(f"{seed}/{variant}/{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    draws: list[float] = (2 * torch.rand(count, generator=generator, dtype=torch.float64) - 1).tolist()
    return draws


def apply_jitter(image: Tensor, jitter: Jitter, *, intensity: bool = True) -> Tensor:
    """Move and shade an image.

    Args:
        image: float in [0, 1], shape (H, W); the area outside is 0.
        jitter: the change.
        intensity: False for masks, which are moved only.

    Returns:
        Same shape, values in [0, 1].
    """
    if jitter == Jitter():
        return image
    angle = torch.deg2rad(torch.tensor(jitter.rotation_degrees, dtype=torch.float64))
    cosine, sine = torch.cos(angle) / jitter.scale, torch.sin(angle) / jitter.scale
    shift = torch.tensor([-2 * jitter.shift_x, -2 * jitter.shift_y], dtype=torch.float64)
    turn = torch.stack([torch.stack([cosine, -sine]), torch.stack([sine, cosine])])
    matrix = torch.cat([turn, (turn @ shift)[:, None]], dim=1)  # (2, 3), output place to input place
    grid = torch.nn.functional.affine_grid(matrix[None].float(), [1, 1, *image.shape], align_corners=False)
    edge = 1 - 1 / torch.tensor(image.shape[::-1])  # centres of the outermost pixels, x and y
    grid = torch.where(grid.abs() <= 1, grid.clamp(-edge, edge), grid)  # a pixel has its value up to its own edge
    moved = torch.nn.functional.grid_sample(image[None, None].float(), grid, align_corners=False)[0, 0]
    if jitter.mirrored:
        moved = moved.flip(-1)
    if intensity:
        moved = (moved - 0.5) * jitter.contrast + 0.5 + jitter.brightness
    return moved.clamp(0, 1)


def move_mask(mask: Tensor, jitter: Jitter) -> Tensor:
    """Move a mask, bool, shape (H, W), as its image is moved. The area outside and the edge become False."""
    return mask if jitter == Jitter() else apply_jitter(mask.float(), jitter, intensity=False) > 0.99


def swap_sides(text: str) -> str:
    """Replace left by right and right by left, keeping upper and lower case.

    Example:
        >>> swap_sides("Left effusion; the RIGHT lung is clear, leftward shift.")
        'Right effusion; the LEFT lung is clear, rightward shift.'
    """

    def swapped(match: re.Match[str]) -> str:
        word = match[0]
        other = SIDES[word.lower()]
        if word.isupper():
            return other.upper()
        return other.capitalize() if word[0].isupper() else other

    return re.sub("left|right", swapped, text, flags=re.IGNORECASE)
