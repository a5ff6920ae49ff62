"""The average of the weights over training, which is what a stage leaves behind."""

from __future__ import annotations

from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler
from ignite.handlers.ema_handler import EMAWarmUp
from torch import nn

from biomedjourney_monai.training.gradients import steps_now


class WeightAverage(EMAHandler):
    """Ignite's exponential moving average, with a warm-up that follows the trainer's iteration.

    Ignite's own warm-up counts its calls, so that a resumed training would warm up again and lose its average.

    Args:
        model: the network that is trained; `ema_model` is its average.
        momentum: share of the new weights in the average, in (0, 1).
        momentum_warmup: that share at the first iteration.
        warmup_iters: iterations over which it goes to `momentum` in equal steps.
    """

    def __init__(self, model: nn.Module, *, momentum: float, momentum_warmup: float, warmup_iters: int) -> None:
        super().__init__(model, momentum=momentum)
        self.momentum_at = EMAWarmUp(momentum_warmup, warmup_iters, momentum)

    def attach(self, engine: Engine, name: str = "ema_momentum") -> None:
        """Update the average after each step of the optimiser, and keep the share in `engine.state` under `name`."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._update, name)

    def _update(self, engine: Engine, name: str) -> None:
        if not steps_now(engine):
            return
        setattr(engine.state, name, self.momentum_at(engine.state.iteration))
        self._update_ema_model(engine, name)
