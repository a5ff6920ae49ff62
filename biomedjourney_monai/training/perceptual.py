"""Perceptual distance of two images, by the features of a frozen network with weights from a local file."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from biomedjourney_monai.errors import WeightsError, as_weights_error


class FeatureDistance(nn.Module):
    """Squared distance of unit feature vectors, averaged over positions and summed over layers.

    This is LPIPS (Zhang et al. 2018) without its learned channel weights, on any network for these images.

    Args:
        network: takes images of shape (B, 1, H, W) in [-1, 1]; it is frozen, in evaluation mode.
        layers: names of the submodules whose outputs (B, C, h, w) are compared.

    Raises:
        ValueError: if a layer is not in the network, or none is given.
    """

    def __init__(self, network: nn.Module, *, layers: Sequence[str]) -> None:
        super().__init__()
        known = dict(network.named_modules())
        unknown = [name for name in layers if name not in known]
        if unknown or not layers:
            raise ValueError(f"layers must name submodules of {type(network).__name__}, found {unknown or 'no layers'}")
        self.network = network.eval().requires_grad_(False)
        self._features: list[Tensor] = []
        for name in layers:
            known[name].register_forward_hook(lambda module, inputs, output: self._features.append(output))

    def train(self, mode: bool = True) -> "FeatureDistance":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, image: Tensor, reference: Tensor) -> Tensor:
        """Compare images, both of shape (B, 1, H, W) in [-1, 1]; returns a scalar >= 0, 0 for equal images."""
        with torch.no_grad():
            wanted = self._features_of(reference)
        distance = torch.zeros((), device=image.device)
        for one, other in zip(self._features_of(image), wanted):
            distance = distance + (normalize(one) - normalize(other)).square().sum(1).mean()
        return distance

    def _features_of(self, images: Tensor) -> list[Tensor]:
        self._features = []
        self.network(images)
        features, self._features = self._features, []
        return features


class ResNet50Distance(nn.Module):
    """MONAI's `PerceptualLoss` with a ResNet-50 from a local file, under torchvision's names.

    Args:
        weights: a state dict of `torchvision.models.resnet50`, e.g. of ImageNet or RadImageNet, read as tensors only.

    Raises:
        WeightsError: if the file is absent or contains anything else.
    """

    def __init__(self, weights: str | Path) -> None:
        super().__init__()
        from monai.losses import PerceptualLoss

        if not Path(weights).is_file():
            raise WeightsError(
                f"{weights} must exist",
                found="no such file",
                action="Pass a ResNet-50 in torchvision's names, or leave --perceptual_file null",
            )
        rule = f"{weights} must hold the tensors of torchvision's ResNet-50"
        action = "Save `resnet50().state_dict()` there; weights are read as tensors only"
        with as_weights_error(rule, action=action):
            self.loss = PerceptualLoss(
                spatial_dims=2, network_type="resnet50", pretrained=True, pretrained_path=str(weights)
            )

    def forward(self, image: Tensor, reference: Tensor) -> Tensor:
        """Compare images, both of shape (B, 1, H, W) in [-1, 1]; returns a scalar >= 0."""
        distance: Tensor = self.loss((image + 1) / 2, (reference + 1) / 2)
        return distance


def perceptual_distance(
    *, weight: float, weights_file: str | Path | None, network: nn.Module, layers: Sequence[str]
) -> nn.Module | None:
    """The distance for a training: None at weight 0, by a ResNet-50 if there is a file, else by the given network."""
    if weight == 0:
        return None
    return FeatureDistance(network, layers=layers) if weights_file is None else ResNet50Distance(weights_file)
