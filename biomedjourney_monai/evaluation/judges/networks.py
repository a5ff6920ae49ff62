"""The two small networks of the phantom judges: a classifier and a segmenter of the anatomy."""

import torch
from monai.networks.nets import UNet
from torch import Tensor, nn

from biomedjourney_monai.schema import FINDINGS, STRUCTURES

JUDGE_SIZE = 128
"""Side of the images that the networks were made for, in pixels."""

GROUPS = 3
AGE_CENTRE, AGE_SPREAD = 60.0, 17.0
"""Years; the age head's output is standardised by these."""


class PhantomClassifier(nn.Module):
    """A residual network with three heads; about 0.4 M parameters.

    The stem works at full resolution, since the line of a small pneumothorax is one pixel wide. Pooling takes mean and
    maximum: the maximum finds what is small.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (24, 48, 80, 136)  # channels per resolution, from size / 2 down
        self.stem = nn.Sequential(
            nn.Conv2d(1, widths[0], 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        before = (widths[0], *widths[:-1])
        self.stages = nn.Sequential(
            *(ResidualBlock(i, o, stride=1 if n == 0 else 2) for n, (i, o) in enumerate(zip(before, widths)))
        )
        self.dropout = nn.Dropout(0.2)
        self.heads = nn.Linear(2 * widths[-1], len(FINDINGS) + GROUPS + 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score images of shape (B, 1, H, W) in [-1, 1].

        Returns:
            Finding logits (B, 5), group logits (B, 3), and ages (B,) in years.
        """
        pooled = self.features(image)
        findings, groups, age = self.heads(self.dropout(pooled)).split([len(FINDINGS), GROUPS, 1], dim=1)
        return findings, groups, AGE_CENTRE + AGE_SPREAD * age.squeeze(1)

    def features(self, image: Tensor) -> Tensor:
        """Input of the heads for images as in `forward`: means and maxima, shape (B, 2 C)."""
        maps = self.stages(self.stem(image))  # (B, C, H/16, W/16)
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.body(features) + self.shortcut(features))


class PhantomSegmenter(nn.Module):
    """MONAI's UNet on 2 x 2 pixel blocks, which costs a quarter of one at full resolution; about 0.2 M parameters.

    Structures may overlap, so each has its own logit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unet = UNet(2, 4, 4 * len(STRUCTURES), (16, 32, 64, 80), (2, 2, 2), num_res_units=1, norm="BATCH")

    def forward(self, image: Tensor) -> Tensor:
        """Segment structures in images of shape (B, 1, H, W) in [-1, 1]; returns logits (B, 6, H, W)."""
        blocks = nn.functional.pixel_unshuffle(image, 2)  # (B, 4, H/2, W/2)
        return nn.functional.pixel_shuffle(self.unet(blocks), 2)
