"""Mixed precision for the stock trainer on a CPU, whose own `amp` is for CUDA alone."""

from __future__ import annotations

from typing import Any

import torch
from monai.inferers import SimpleInferer
from torch import Tensor


class AutocastInferer(SimpleInferer):
    """Call the network under bfloat16 autocast; parameters and loss stay float32.

    Args:
        enabled: off runs in float32.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        super().__init__()
        self.enabled = enabled

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.enabled):
            return network(inputs, *args, **kwargs)
