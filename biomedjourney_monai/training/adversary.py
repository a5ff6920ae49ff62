"""The patch discriminator that is trained together with the autoencoder, in MONAI's trainer."""

from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.losses import PatchAdversarialLoss
from monai.networks.nets import PatchDiscriminator
from monai.utils.enums import CommonKeys
from torch import Tensor


class PatchAdversary:
    """MONAI's `PatchDiscriminator`, with its optimiser and its part of the autoencoder's loss.

    The autoencoder's loss calls `penalty`; as a handler of the trainer, the discriminator is trained after each
    iteration on the same batch. Both start after `start_iteration`, because a discriminator is of no use while the
    reconstructions are untrained (Esser et al. 2021, section 3.1). At weight 0 there is no discriminator.

    Args:
        weight: of the adversarial loss.
        start_iteration: iterations of the autoencoder alone.
        learning_rate: of the discriminator.
        channels: of its first layer.
        layers: of stride 2.
        seed: of its first weights.
        device: where it computes.
    """

    def __init__(
        self,
        *,
        weight: float,
        start_iteration: int,
        learning_rate: float,
        channels: int = 32,
        layers: int = 3,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.weight, self.start_iteration = weight, start_iteration
        self.iteration = 0
        self.loss = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)
        if weight:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.discriminator = PatchDiscriminator(
                    spatial_dims=2, channels=channels, in_channels=1, out_channels=1, num_layers_d=layers
                ).to(device)
            self.optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=learning_rate, betas=(0.5, 0.9))

    @property
    def is_active(self) -> bool:
        """Whether the running iteration counts the adversarial loss."""
        return self.weight > 0 and self.iteration > self.start_iteration

    def states(self) -> dict[str, Any]:
        """Objects that a checkpoint must save, by name."""
        return {"discriminator": self.discriminator, "discriminator_optimizer": self.optimizer} if self.weight else {}

    def penalty(self, reconstruction: Tensor) -> Tensor:
        """The weighted adversarial loss of a reconstruction; 0 while inactive.

        Args:
            reconstruction: shape (B, 1, H, W), with its graph.
        """
        if not self.is_active:
            return reconstruction.new_zeros(())
        verdict = self.discriminator(reconstruction)[-1]
        loss: Tensor = self.loss(verdict, target_is_real=True, for_discriminator=False)
        return self.weight * loss

    def attach(self, engine: Engine) -> None:
        """Count the trainer's iterations, and train after each."""
        engine.add_event_handler(Events.ITERATION_STARTED, self._count)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._learn)

    def _count(self, engine: Engine) -> None:
        self.iteration = engine.state.iteration

    def _learn(self, engine: Engine) -> None:
        if not self.is_active:
            return
        state: Any = engine.state
        made, real = state.output[CommonKeys.PRED][0].detach().float(), state.output[CommonKeys.LABEL]
        self.optimizer.zero_grad(set_to_none=True)  # the autoencoder's backward pass wrote gradients here too
        loss = 0.5 * (
            self.loss(self.discriminator(made)[-1], target_is_real=False, for_discriminator=True)
            + self.loss(self.discriminator(real)[-1], target_is_real=True, for_discriminator=True)
        )
        loss.backward()
        self.optimizer.step()
        state.discriminator_loss = loss.item()
