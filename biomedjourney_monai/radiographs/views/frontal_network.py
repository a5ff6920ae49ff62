"""torchxrayvision's ViewModel, frontal or lateral, from local weights."""

from pathlib import Path

import numpy as np

from biomedjourney_monai.errors import WeightsError

NATIVE_SIZE = 224
"""Side of the images that the network takes."""


class ViewModel:
    """A ResNet-50 that separates frontal from lateral chest radiographs. Unlike torchxrayvision, it downloads nothing.

    Args:
        weights: the file `xinario_chestViewSplit_resnet-50.pt` of torchxrayvision's release v1.

    Raises:
        WeightsError: if the file is missing, holds more than tensors or does not fit the network.

    Source: https://github.com/xinario/chestViewSplit, through torchxrayvision.baseline_models.xinario.
    """

    def __init__(self, weights: str | Path) -> None:
        import torch
        import torchvision
        from torchxrayvision.baseline_models.xinario import ViewModel as Network

        state = _read_tensors(weights)
        network = Network.__new__(Network)  # its __init__ would download
        torch.nn.Module.__init__(network)
        network.model = torchvision.models.resnet50()
        try:
            network.model.load_state_dict(state)
        except (RuntimeError, AttributeError, TypeError) as error:
            raise WeightsError(
                "the view model's weights must fit a ResNet-50 with 1,000 outputs", found="other names or shapes"
            ) from error
        network.norm = torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        self._network = network.eval()
        self._lateral = Network.targets.index("Lateral")

    def is_lateral(self, image: np.ndarray) -> bool:
        """Whether an image, float in [0, 1], square, shape (S, S), bright is dense, is lateral."""
        import torch

        scaled = torch.from_numpy(np.ascontiguousarray(image, np.float32) * 2048 - 1024)  # torchxrayvision's range
        scaled = torch.nn.functional.interpolate(
            scaled[None, None], size=(NATIVE_SIZE, NATIVE_SIZE), mode="bilinear", antialias=True
        )
        with torch.inference_mode():
            return int(self._network(scaled).argmax()) == self._lateral


def _read_tensors(weights: str | Path) -> object:
    import torch

    if not Path(weights).is_file():
        raise WeightsError(
            "the view model's weights must be a local file",
            found="no such file",
            action="Fetch xinario_chestViewSplit_resnet-50.pt of torchxrayvision's release v1",
        )
    try:
        return torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch raise many kinds
        raise WeightsError("weights must hold tensors only", found=type(error).__name__) from error
