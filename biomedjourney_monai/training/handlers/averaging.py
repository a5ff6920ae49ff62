"""The average of the weights over training, which a stage saves as its model."""

from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler
from ignite.handlers.ema_handler import EMAWarmUp
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from biomedjourney_monai.training.handlers.gradients import steps_now


def weight_average(
    model: nn.Module, *, momentum: float, momentum_warmup: float, warmup_iters: int
) -> "WeightAverage | LatestWeights":
    """The average of a network's weights; with a momentum of 1 the network itself, which needs no further memory."""
    if momentum == 1:
        return LatestWeights(model)
    return WeightAverage(model, momentum=momentum, momentum_warmup=momentum_warmup, warmup_iters=warmup_iters)


class LatestWeights:
    """Replaces the average where there is none: `ema_model` is the network that is trained."""

    def __init__(self, model: nn.Module) -> None:
        self.ema_model = model

    def attach(self, engine: Engine) -> None:
        """Nothing to do during training."""


class WeightAverage(EMAHandler):
    """Ignite's exponential moving average, with a warm-up that follows the trainer's iteration.

    Ignite's own warm-up counts its calls, so a resumed training would warm up again and lose its average.

    Args:
        model: the network that is trained; `ema_model` is its average.
        momentum: share of the new weights in the average, in (0, 1).
        momentum_warmup: that share at the first iteration.
        warmup_iters: iterations over which it changes linearly to `momentum`.
    """

    def __init__(self, model: nn.Module, *, momentum: float, momentum_warmup: float, warmup_iters: int) -> None:
        super().__init__(model, momentum=momentum)
        self.momentum_at = EMAWarmUp(momentum_warmup, warmup_iters, momentum)

    def attach(self, engine: Engine, name: str = "ema_momentum", *_: Any, **__: Any) -> None:
        """Update the average after each optimiser step, and keep the share in `engine.state` under `name`."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._update, name)

    def _update(self, engine: Engine, name: str) -> None:
        if not steps_now(engine):
            return
        setattr(engine.state, name, self.momentum_at(engine.state.iteration))
        self._update_ema_model(engine, name)

    @torch.no_grad()
    def _update_ema_model(self, engine: Engine, name: str) -> None:
        """As Ignite's, but in one pass through memory instead of two."""
        mine, theirs = list(self.ema_model.parameters()), list(self.model.parameters())
        get_ema_multi_avg_fn(1 - getattr(engine.state, name))(mine, theirs, None)
        for buffer, other in zip(self.ema_model.buffers(), self.model.buffers()):
            buffer.copy_(other)
