"""Clip gradients between the backward pass and the optimiser's step."""

import math
from pathlib import Path
from typing import Any, cast

import torch
from ignite.engine import Engine
from monai.engines import IterationEvents, SupervisedTrainer
from monai.utils.enums import CommonKeys

from biomedjourney_monai.errors import ConfigError


def steps_now(engine: Engine) -> bool:
    """Whether this iteration ends with an optimiser step: each `accumulation_steps`-th, and the last of an epoch.

    Source: the rule of `monai.engines.SupervisedTrainer`.
    """
    accumulated = getattr(engine, "accumulation_steps", 1)
    length = engine.state.epoch_length or engine.state.iteration + 1
    within = (engine.state.iteration - 1) % length + 1
    return within % accumulated == 0 or within == length


class ClipGradients:
    """Clip the norm of all gradients before each optimiser step; stop the run if the loss or the norm is not finite.

    The norm before clipping is kept in `engine.state.gradient_norm`.

    Args:
        parameters: of the network that is trained.
        max_norm: largest Euclidean norm of all gradients together.
        checkpoint: named in the error as the one to continue from.
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
        """Raises: ConfigError: if the loss or a gradient is not finite; the last checkpoint is kept."""
        state: Any = engine.state
        self._require_finite("training loss", float(state.output[CommonKeys.LOSS].detach()), engine)
        if not steps_now(engine):
            return
        scaler = getattr(engine, "scaler", None)
        if scaler is not None:
            scaler.unscale_(cast(SupervisedTrainer, engine).optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.max_norm)
        if scaler is None:  # a scaler would skip such a step and reduce its scale
            self._require_finite("norm of the gradients", float(norm), engine)
        state.gradient_norm = norm

    def _require_finite(self, name: str, value: float, engine: Engine) -> None:
        if not math.isfinite(value):
            raise ConfigError(
                f"the {name} must be finite",
                found=f"{value} at iteration {engine.state.iteration}{self._rows(engine.state.batch)}",
                action=f"Lower --learning_rate, or pass --precision float32{self._good_checkpoint()}",
            )

    def _rows(self, batch: object) -> str:
        rows = batch.get("row") if isinstance(batch, dict) else None
        return "" if rows is None else f", rows {', '.join(str(int(row)) for row in rows)} of the latent cache"

    def _good_checkpoint(self) -> str:
        if self.checkpoint is None or not Path(self.checkpoint).is_file():
            return ""
        return f"; the last good checkpoint is {self.checkpoint}"
