"""The validation loss by noise level."""

from typing import Any

import torch
from ignite.exceptions import NotComputableError
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce
from torch import Tensor

from biomedjourney_monai.training.prepare_batch import WeightedTarget


class LossByTimestep(Metric):
    """Mean of weight · (prediction - target)² in bands of timesteps, low to high noise.

    Computes a dictionary, `{"val_loss_0_249": …, "val_loss_250_499": …}`, without bands that have no examples.

    Args:
        bands: number of bands of equal width.
        timesteps: T of the noise schedule.
        **more: of Ignite's `Metric`; `output_transform` gives (prediction, weighted target).
    """

    def __init__(self, *, bands: int = 4, timesteps: int = 1000, **more: Any) -> None:
        if not 1 <= bands <= timesteps:
            raise ValueError(f"bands must be in [1, {timesteps}], found {bands}")
        self.bands, self.timesteps = bands, timesteps
        super().__init__(**more)

    @reinit__is_reduced
    def reset(self) -> None:
        """Start again."""
        self._sums = torch.zeros(self.bands, dtype=torch.float64, device=self._device)
        self._counts = torch.zeros(self.bands, dtype=torch.float64, device=self._device)

    @reinit__is_reduced
    def update(self, output: tuple[Tensor, WeightedTarget]) -> None:
        """Add one batch."""
        prediction, target = output
        losses = (target.weight * (prediction.float() - target.target).square()).flatten(1).mean(1)  # (B,)
        band = (target.timesteps * self.bands // self.timesteps).to(self._device)
        self._sums.index_add_(0, band, losses.double().to(self._device))
        self._counts.index_add_(0, band, torch.ones_like(band, dtype=torch.float64))

    @sync_all_reduce("_sums", "_counts")
    def compute(self) -> dict[str, float]:
        """The mean of each band.

        Raises:
            NotComputableError: if there were no examples.
        """
        if not self._counts.sum():
            raise NotComputableError("the loss by timestep needs at least one example")
        edges = [-(-number * self.timesteps // self.bands) for number in range(self.bands + 1)]
        return {
            f"val_loss_{low}_{high - 1}": float(total / count)
            for low, high, total, count in zip(edges, edges[1:], self._sums, self._counts)
            if count
        }
