"""What is done to the gradients between the backward pass and the optimiser's step."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from ignite.engine import Engine
from monai.engines import IterationEvents
from monai.utils.enums import CommonKeys

from biomedjourney_monai.errors import ConfigError


def steps_now(engine: Engine) -> bool:
    """Whether the running iteration ends in a step of the optimiser: each `accumulation_steps`-th and an epoch's last.

    Source: `monai.engines.SupervisedTrainer`, whose rule this repeats.
    """
    accumulated = getattr(engine, "accumulation_steps", 1)
    length = engine.state.epoch_length or engine.state.iteration + 1
    within = (engine.state.iteration - 1) % length + 1
    return within % accumulated == 0 or within == length


class ClipGradients:
    """Clip the norm of all gradients before each optimiser step; stop the run if the loss is not finite.

    The norm before clipping is left in `engine.state.gradient_norm`.

    Args:
        parameters: of the network that is trained.
        max_norm: in units of the gradient's Euclidean norm.
        checkpoint: named in the error as the one to go on from.
    """

    def __init__(
        self, parameters: list[torch.nn.Parameter], max_norm: float, *, checkpoint: str | Path | None = None
    ) -> None:
        self.parameters, self.max_norm = parameters, max_norm
        self.checkpoint = checkpoint

    def attach(self, engine: Engine) -> None:
        """Register between backward pass and step."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Raises: ConfigError: if the loss is not finite; the last checkpoint stays as it is."""
        loss = float(engine.state.output[CommonKeys.LOSS].detach())
        if not math.isfinite(loss):
            raise ConfigError(
                "the training loss must be finite",
                found=f"{loss} at iteration {engine.state.iteration}{self._rows(engine.state.batch)}",
                action=f"Lower --learning_rate, or pass --precision float32{self._good_checkpoint()}",
            )
        if steps_now(engine):
            if getattr(engine, "scaler", None) is not None:
                engine.scaler.unscale_(engine.optimizer)
            engine.state.gradient_norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.max_norm)

    def _rows(self, batch: object) -> str:
        rows = batch.get("row") if isinstance(batch, dict) else None
        return "" if rows is None else f", rows {', '.join(str(int(row)) for row in rows)} of the latent cache"

    def _good_checkpoint(self) -> str:
        if self.checkpoint is None or not Path(self.checkpoint).is_file():
            return ""
        return f"; the last good checkpoint is {self.checkpoint}"
