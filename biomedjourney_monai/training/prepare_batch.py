"""Batches for MONAI's SupervisedTrainer: noisy latents as input, a weighted target as label."""

from typing import Any, NamedTuple

import torch
from ignite.engine import Engine, Events
from monai.engines import PrepareBatch
from monai.networks.schedulers import DDPMScheduler
from torch import Tensor, nn


class WeightedTarget(NamedTuple):
    """What the denoiser should predict, and the weight of each element."""

    target: Tensor  # (B, C, h, w)
    weight: Tensor  # (B, 1 or C, h, w), >= 0
    timesteps: Tensor  # (B,)


def min_snr_weight(alpha_cumprod: Tensor, *, prediction_type: str, gamma: float) -> Tensor:
    """Loss weight by timestep, limited so that no timestep dominates.

    Args:
        alpha_cumprod: shape (B,), in (0, 1).
        prediction_type: epsilon, v_prediction or sample.
        gamma: limit of the signal-to-noise ratio; 5 in the paper.

    Returns:
        Shape (B,).

    Source: Hang et al. 2023, Efficient Diffusion Training via Min-SNR Weighting Strategy, section 3.4.
    """
    ratio = alpha_cumprod / (1 - alpha_cumprod)
    clipped = ratio.clamp(max=gamma)
    if prediction_type == "sample":
        return clipped
    return clipped / (ratio + 1) if prediction_type == "v_prediction" else clipped / ratio


class DiffusionPrepareBatch(PrepareBatch):
    """Draw timestep and noise, drop conditions, and build the target.

    As in InstructPix2Pix the text, the image or both are dropped, each with its own probability. The dropped text is
    the encoded empty string, the dropped image zeros.

    Args:
        noise_scheduler: MONAI noise scheduler.
        scale_factor: the latent multiplier; the target is a scaled posterior sample, the prior is not scaled.
        null_text_states: token states of the empty description, shape (1, L, W).
        drop_text, drop_image, drop_both: probabilities, together at most 1.
        min_snr_gamma: see `min_snr_weight`; None for no weighting by timestep.
        channel_weight: weight of each latent channel, shape (C,); None for equal weights.
        seed: of the generator for noise, timesteps and dropping.
        process, processes: this process, and the number that train together. Each draws for all and keeps every
            `processes`-th draw, so that together they see the same noise as one process.
    """

    def __init__(
        self,
        noise_scheduler: DDPMScheduler,
        *,
        scale_factor: float,
        null_text_states: Tensor,
        drop_text: float = 0.05,
        drop_image: float = 0.05,
        drop_both: float = 0.05,
        min_snr_gamma: float | None = None,
        channel_weight: Tensor | None = None,
        seed: int = 0,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        if min(drop_text, drop_image, drop_both) < 0 or drop_text + drop_image + drop_both > 1:
            found = f"{drop_text}, {drop_image} and {drop_both}"
            raise ValueError(f"probabilities must be >= 0 and add up to at most 1, found {found}")
        self.noise_scheduler = noise_scheduler
        self.scale_factor = float(scale_factor)
        self.null_text_states = null_text_states
        self.drop_text, self.drop_image, self.drop_both = drop_text, drop_image, drop_both
        self.min_snr_gamma = min_snr_gamma
        self.channel_weight = channel_weight
        self.seed = seed
        self.process, self.processes = process, processes
        self.generator = torch.Generator().manual_seed(seed)

    def attach(self, engine: Engine) -> None:
        """Draw the same noise and timesteps in every run of an evaluator, so that its losses are comparable."""
        engine.add_event_handler(Events.STARTED, lambda: self.generator.manual_seed(self.seed))

    def __call__(
        self,
        batchdata: dict[str, Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, WeightedTarget, tuple[()], dict[str, Tensor]]:
        """Returns: noisy latent (B, C, h, w), weighted target, no positional and three keyword arguments."""
        mean = batchdata["new_mean"]
        deviation = (batchdata["new_log_variance"] / 2).exp()
        clean = self.scale_factor * (mean + deviation * self._normal(mean.shape))
        noise = self._normal(mean.shape)
        timesteps = self._timesteps(len(mean))
        noisy = self.noise_scheduler.add_noise(original_samples=clean, noise=noise, timesteps=timesteps)
        prior_latent, text_states = self._drop_conditions(batchdata["prior_latent"], batchdata["text_states"])
        target = WeightedTarget(
            self._target(clean, noise, timesteps), self._weight(batchdata["valid"], timesteps), timesteps
        )
        inputs = {"timesteps": timesteps, "prior_latent": prior_latent, "text_states": text_states}
        return (
            noisy.to(device, non_blocking=non_blocking),
            WeightedTarget(*(part.to(device, non_blocking=non_blocking) for part in target)),
            (),
            {name: value.to(device, non_blocking=non_blocking) for name, value in inputs.items()},
        )

    def _normal(self, shape: torch.Size) -> Tensor:
        return self._own(torch.randn(self.processes * shape[0], *shape[1:], generator=self.generator))

    def _timesteps(self, count: int) -> Tensor:
        steps = self.noise_scheduler.num_train_timesteps
        return self._own(torch.randint(0, steps, (self.processes * count,), generator=self.generator))

    def _own(self, draws: Tensor) -> Tensor:
        return draws[self.process :: self.processes]

    def _drop_conditions(self, prior_latent: Tensor, text_states: Tensor) -> tuple[Tensor, Tensor]:
        chance = self._own(torch.rand(self.processes * len(prior_latent), generator=self.generator))
        without_text = chance < self.drop_text + self.drop_both
        without_image = (chance >= self.drop_text) & (chance < self.drop_text + self.drop_both + self.drop_image)
        prior_latent = torch.where(without_image[:, None, None, None], 0.0, prior_latent)
        text_states = torch.where(without_text[:, None, None], self.null_text_states.to(text_states), text_states)
        return prior_latent, text_states

    def _target(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        prediction_type = str(self.noise_scheduler.prediction_type)
        if prediction_type == "sample":
            return clean
        if prediction_type == "v_prediction":
            return self.noise_scheduler.get_velocity(clean, noise, timesteps)
        return noise

    def _weight(self, valid: Tensor, timesteps: Tensor) -> Tensor:
        weight = valid  # (B, 1, h, w)
        if self.min_snr_gamma is not None:
            by_timestep = min_snr_weight(
                self.noise_scheduler.alphas_cumprod[timesteps].float(),
                prediction_type=str(self.noise_scheduler.prediction_type),
                gamma=self.min_snr_gamma,
            )
            weight = weight * by_timestep[:, None, None, None]
        if self.channel_weight is not None:
            weight = weight * self.channel_weight[None, :, None, None]
        return weight


class WeightedLatentLoss(nn.Module):
    """Mean of weight · (prediction - target)² over all elements."""

    def forward(self, prediction: Tensor, target: WeightedTarget) -> Tensor:
        return (target.weight * (prediction.float() - target.target).square()).mean()
