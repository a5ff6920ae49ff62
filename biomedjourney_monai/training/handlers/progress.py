"""A progress bar as a handler in MONAI's configs."""

from typing import Any

import torch
from ignite.engine import Engine
from ignite.handlers.tqdm_logger import ProgressBar
from monai.utils.enums import CommonKeys


class TrainingProgress:
    """Show iterations, rate and loss on the terminal.

    Args:
        description: name of the training.
    """

    def __init__(self, description: str) -> None:
        self.description = description

    def attach(self, engine: Engine) -> None:
        """Attach Ignite's bar."""
        bar = ProgressBar(desc=self.description, persist=True)
        bar.attach(engine, output_transform=_loss)


def _loss(output: object) -> dict[str, float]:
    first: Any = output[0] if isinstance(output, (list, tuple)) else output
    return {"loss": float(torch.as_tensor(first[CommonKeys.LOSS]).detach())}
