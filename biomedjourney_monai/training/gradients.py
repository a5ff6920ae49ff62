"""What is done to the gradients between the backward pass and the optimiser's step."""

from __future__ import annotations

import math

import torch
from ignite.engine import Engine
from monai.engines import IterationEvents
from monai.utils.enums import CommonKeys

from biomedjourney_monai.errors import ConfigError


class ClipGradients:
    """Clip the norm of all gradients before each optimiser step; stop the run if the loss is not finite.

    Args:
        parameters: of the network that is trained.
        max_norm: in units of the gradient's Euclidean norm.
    """

    def __init__(self, parameters: list[torch.nn.Parameter], max_norm: float) -> None:
        self.parameters, self.max_norm = parameters, max_norm

    def attach(self, engine: Engine) -> None:
        """Register between backward pass and step."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Raises: ConfigError: if the loss is not finite; the last checkpoint stays as it is."""
        loss = float(engine.state.output[CommonKeys.LOSS].detach())
        if not math.isfinite(loss):
            raise ConfigError(
                "the training loss must be finite",
                found=f"{loss} at iteration {engine.state.iteration}",
                action="Lower --learning_rate, or pass --autocast false",
            )
        torch.nn.utils.clip_grad_norm_(self.parameters, self.max_norm)
