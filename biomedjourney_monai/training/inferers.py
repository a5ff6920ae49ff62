"""Mixed precision for MONAI's trainer, also on a CPU, where its own `amp` does nothing."""

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import SimpleInferer
from torch import Tensor

from biomedjourney_monai.errors import ConfigError

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class AutocastInferer(SimpleInferer):
    """Call the network under autocast; parameters and loss stay float32.

    Args:
        precision: "float32", "bfloat16", or "float16", which needs the trainer's gradient scaler (`amp: true`).

    Raises:
        ConfigError: for any other precision.
    """

    def __init__(self, *, precision: str = "bfloat16") -> None:
        super().__init__()
        if precision not in PRECISIONS:
            raise ConfigError(f"--precision must be one of {', '.join(PRECISIONS)}", found=str(precision))
        self.dtype = PRECISIONS[precision]

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        with torch.autocast(inputs.device.type, self.dtype, enabled=self.dtype is not None):
            return network(inputs, *args, **kwargs)
