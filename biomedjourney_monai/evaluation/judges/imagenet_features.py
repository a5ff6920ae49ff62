"""ImageNet's Inception v3 as a feature extractor for FID and KID, from a file on disk; nothing is downloaded."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from biomedjourney_monai.errors import as_weights_error

INCEPTION_FILE = "inception_v3_google-0cc3c7bd.pth"
"""torchvision's name of the weights. FID by other ports of the network has other values and is not comparable."""

INCEPTION_SIZE = 299
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class InceptionFeatures:
    """The 2,048 pooled features of torchvision's Inception v3, with weights from a file of tensors.

    Raises:
        WeightsError: if the file is missing, unreadable or does not fit.
    """

    def __init__(self, path: str | Path, *, device: str | torch.device = "cpu") -> None:
        from torchvision.models import inception_v3

        path = Path(path)
        network = inception_v3(weights=None, aux_logits=True, init_weights=False)
        rule = f"{path.name} must hold the tensors of torchvision's Inception v3"
        with as_weights_error(rule, action=f"Put torchvision's {INCEPTION_FILE} there; nothing is downloaded"):
            network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
        network.fc = nn.Identity()
        self.network, self.device = network.eval().to(device), torch.device(device)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Features of grey images of shape (B, 1, H, W) in [0, 1]: shape (B, 2048)."""
        size = (INCEPTION_SIZE, INCEPTION_SIZE)
        seen = interpolate(images.to(self.device).float(), size=size, mode="bilinear", antialias=True)
        mean, spread = (torch.tensor(v, device=self.device)[:, None, None] for v in (_MEAN, _SPREAD))
        return self.network((seen - mean) / spread).cpu()
