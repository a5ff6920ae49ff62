"""The complete model as one module: prior image and description in, counterfactual out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from monai.networks.nets import AutoencoderKL
from torch import Tensor, nn

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.memory import large_blocks_apart
from biomedjourney_monai.networks.denoiser import Denoiser
from biomedjourney_monai.networks.distilled import Distilled
from biomedjourney_monai.networks.fast_path import FastAutoencoder, FastDenoiser, dtype_of, speed_up
from biomedjourney_monai.networks.text.encoder import TextEncoder
from biomedjourney_monai.networks.unchanged import keep_unchanged
from biomedjourney_monai.networks.weights.geometry import (
    GEOMETRY_KEY,
    HASH_KEY,
    geometry_hash,
    geometry_of,
    require_same_geometry,
)
from biomedjourney_monai.networks.weights.model_file import INFO_KEY, MODEL_KEY, load_model, load_tensors, save_tensors


@dataclass(frozen=True)
class Sampled:
    """What a sampler returns for a batch of B cases.

    Attributes:
        latent: clean scaled latents, shape (B, C, h, w).
        without: the clean scaled latents that the first guided step predicts without the description, same shape; None
            if no step was guided.
        within: the same with the description.
        relevance: where the descriptions act, shape (B, 1, h, w), in [0, 1]; None unless the region was "auto".
        region: where change was allowed, shape (B, 1, h, w); None for everywhere.
    """

    latent: Tensor
    without: Tensor | None = None
    within: Tensor | None = None
    relevance: Tensor | None = None
    region: Tensor | None = None


class LatentSampler(Protocol):
    """Draws a clean latent for each prior latent and description; see `diffusion.sampler.CounterfactualSampler`.

    Attributes:
        keep_unchanged: grey value; where the picture changed by less, the prior's own pixels are kept.
    """

    keep_unchanged: float

    def __call__(
        self,
        denoiser: Denoiser | FastDenoiser,
        prior_latent: Tensor,
        text_states: Tensor,
        null_text_states: Tensor,
        *,
        seeds: Sequence[int] | None = None,
        **controls: Any,
    ) -> Sampled: ...


class CounterfactualGenerator(nn.Module):
    """`Gen(I_P, D)`: autoencoder, denoiser and frozen text encoder, with the sampler that joins them.

    Args:
        autoencoder: first stage; images in [-1, 1].
        denoiser: predicts in latent space.
        text_encoder: frozen.
        sampler: draws latents, e.g. `diffusion.CounterfactualSampler`.
        default_description: used where a call gives none.
        image_size: side of the images, in pixels; `torch.jit.script` exports for it.
    """

    def __init__(
        self,
        *,
        autoencoder: AutoencoderKL,
        denoiser: Denoiser,
        text_encoder: TextEncoder,
        sampler: LatentSampler,
        default_description: str = "No acute cardiopulmonary process.",
        image_size: int = 128,
    ) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.denoiser = denoiser
        self.text_encoder = text_encoder
        self.sampler = sampler
        self.default_description = default_description
        self.image_size = image_size
        self.register_load_state_dict_pre_hook(_read_model_file)

    @torch.no_grad()
    def forward(
        self,
        image: Tensor,
        description: str | Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Tensor:
        """Make a counterfactual of each prior image.

        Args:
            image: prior images, shape (B, 1, H, W), values in [0, 1], bright is dense.
            description: one for all images or one for each; None uses the default description.
            seeds: one for each image; None uses the sampler's own seed. A result depends on its own seed alone, not on
                the rest of the batch.

        Returns:
            Counterfactuals, same shape, values in [0, 1].

        Raises:
            ValueError: if the number of descriptions or the image's shape does not fit.
        """
        return self.generate(image, description, seeds=seeds)[0]

    @torch.no_grad()
    def generate(
        self,
        image: Tensor,
        description: str | Sequence[str] | None = None,
        *,
        seeds: Sequence[int] | None = None,
        sampler: LatentSampler | None = None,
        **controls: Any,
    ) -> tuple[Tensor, Sampled]:
        """As `forward`, with another sampler or with controls of the sampler; also returns the sampled latents."""
        chosen, given = sampler or self.sampler, {"seeds": seeds, **controls}
        images, sampled = self._sample(image, description, [chosen.keep_unchanged], chosen, given)
        return images[0], sampled

    @torch.no_grad()
    def keeping(
        self,
        image: Tensor,
        description: str | Sequence[str] | None = None,
        *,
        seeds: Sequence[int] | None = None,
        thresholds: Sequence[float],
        sampler: LatentSampler | None = None,
    ) -> list[Tensor]:
        """As `forward`, sampling once for several values of `keep_unchanged`.

        Args:
            image: prior images, shape (B, 1, H, W).
            description: one for all images or one for each.
            seeds: one for each image.
            thresholds: values of `keep_unchanged`, in grey values; the sampler's own is not used.
            sampler: used instead of the generator's own.

        Returns:
            The result of `forward` for each threshold.
        """
        return self._sample(image, description, thresholds, sampler or self.sampler, {"seeds": seeds})[0]

    def _sample(
        self,
        image: Tensor,
        description: str | Sequence[str] | None,
        thresholds: Sequence[float],
        sampler: LatentSampler,
        controls: Mapping[str, Any],
    ) -> tuple[list[Tensor], Sampled]:
        batch = len(image)
        if image.ndim != 4 or image.shape[1] != 1:
            raise ValueError(f"image must have shape (B, 1, H, W), found {tuple(image.shape)}")
        if description is None:
            description = self.default_description
        descriptions = [description] * batch if isinstance(description, str) else list(description)
        if len(descriptions) != batch:
            raise ValueError(f"there must be one description for each of {batch} images, found {len(descriptions)}")
        device = next(self.denoiser.parameters()).device
        pixels = image.to(device, torch.float32) * 2 - 1
        if hasattr(pixels, "as_tensor"):
            pixels = pixels.as_tensor()
        prior_latent, _ = self.autoencoder.encode(pixels)  # (B, C, H/8, W/8), the unscaled posterior mode
        states, null_states = self.text_encoder.encode(descriptions), self.text_encoder.encode([""])
        given = {name: value for name, value in controls.items() if value is not None}
        sampled = sampler(self.denoiser, prior_latent, states, null_states, **given)
        counterfactual = self._decode(sampled.latent / self.denoiser.scale_factor)
        if not any(thresholds):
            return [counterfactual] * len(thresholds), sampled
        prior = ((pixels + 1) / 2).clamp(0, 1)
        reconstruction, effect = self._decode(prior_latent), self._effect_of_description(sampled)
        kept = [
            keep_unchanged(counterfactual, reconstruction, prior, threshold=threshold, effect=effect)
            for threshold in thresholds
        ]
        return kept, sampled

    def _effect_of_description(self, sampled: Sampled) -> Tensor | None:
        """How much the description changes the first guided prediction, in grey values."""
        if sampled.without is None or sampled.within is None:
            return None
        without = self._decode(sampled.without / self.denoiser.scale_factor)
        return self._decode(sampled.within / self.denoiser.scale_factor) - without

    def _decode(self, latent: Tensor) -> Tensor:
        """Unscaled latents to images in [0, 1]."""
        return ((self.autoencoder.decode(latent) + 1) / 2).clamp(0, 1).float()

    @property
    def is_fast(self) -> bool:
        """Whether `speed_up` was called."""
        return isinstance(self.denoiser, FastDenoiser)

    @large_blocks_apart()
    def speed_up(
        self, precision: str = "auto", *, autoencoder_precision: str = "float32", compiled: bool = False
    ) -> CounterfactualGenerator:
        """Prepare for inference, after loading the weights: the model can then be neither trained nor saved.

        Args:
            precision: of the denoiser: "float32", "bfloat16", "float16", or "auto" for the device's fastest.
            autoencoder_precision: of the autoencoder, one of the same.
            compiled: run the denoiser through torch.compile, for a GPU.
        """
        self.denoiser = cast(Denoiser, speed_up(self.denoiser, precision=precision, compiled=compiled))
        dtype = dtype_of(autoencoder_precision, next(self.autoencoder.parameters()).device)
        self.autoencoder = cast(AutoencoderKL, FastAutoencoder(self.autoencoder, dtype=dtype))
        return self

    def __prepare_scriptable__(self) -> TracedGenerator:
        """A trace for `torch.jit.script`, and so for MONAI's `ckpt_export`, since tokenizers cannot be scripted.

        It takes one image of `image_size`, with the default description, and the sampler's seed and steps.
        """
        image = torch.rand(1, 1, self.image_size, self.image_size, device=next(self.denoiser.parameters()).device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # of shapes, which one size fixes
            return TracedGenerator(torch.jit.trace(self, image, check_trace=False))

    def save(self, path: str | Path, *, info: dict | None = None, half: bool = True) -> None:
        """Write autoencoder and denoiser as one file of tensors; the text encoder stays in its folder."""
        state = {key: value for key, value in self.state_dict().items() if not key.startswith("text_encoder.")}
        facts = {"text_encoder": self.text_encoder.weights_hash, GEOMETRY_KEY: self.geometry}
        facts[HASH_KEY] = geometry_hash(self.geometry)
        save_tensors(path, state, info={**(info or {}), **facts}, half=half, flat=True)

    @property
    def geometry(self) -> dict[str, Any]:
        """Sizes and epsilons of the networks, and the noise schedule; saved with the weights."""
        parts = {"autoencoder": self.autoencoder, "denoiser": self.denoiser}
        noise_scheduler = getattr(self.sampler, "noise_scheduler", None)
        return geometry_of(**parts, **({} if noise_scheduler is None else {"noise_scheduler": noise_scheduler}))

    @large_blocks_apart()
    def load(self, path: str | Path) -> dict:
        """Load what `save` wrote, strictly; returns the info that was saved with the weights.

        Raises:
            WeightsError: if a tensor is missing, unexpected or of another shape, or if the weights were trained with
                another text encoder or another geometry; it names the keys of the configuration that differ.
        """
        state, info = load_tensors(path)
        self.take(state, info, file=Path(path).name)
        return info

    def become_student(self, distilled: Distilled) -> None:
        """Make the denoiser a student of few steps, and its own settings of sampling the sampler's."""
        self.denoiser.become_student(distilled)
        for name, value in distilled.sampling.items():
            if hasattr(self.sampler, name):
                setattr(self.sampler, name, value)

    def prefer_over_student(self, given: Mapping[str, Any]) -> None:
        """Set again what was asked for of the settings that a student's file has brought."""
        brought = {} if self.denoiser.distilled is None else self.denoiser.distilled.sampling
        for name in brought.keys() & given.keys():
            setattr(self.sampler, name, given[name])

    def take(self, state: Mapping[str, Tensor], info: Mapping[str, Any], *, file: str) -> None:
        """Load the tensors and the info of a model file, as `load` does; `file` is its name, for errors."""
        trained_with = info.get("text_encoder")
        if trained_with is not None and trained_with != self.text_encoder.weights_hash:
            raise WeightsError(
                f"{file} must be used with the text encoder it was trained with",
                found=f"text encoder {self.text_encoder.weights_hash[:12]} where {trained_with[:12]} was used",
                action="Pass its folder: --text-encoder of a command, text_encoder_dir of a config",
            )
        distilled = Distilled.of(info)
        if distilled is not None and self.denoiser.distilled is None:
            self.become_student(distilled)
        require_same_geometry(info, self.geometry, file=file)
        load_model({"autoencoder": self.autoencoder, "denoiser": self.denoiser}, state, file=file)


def _read_model_file(module: CounterfactualGenerator, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Let tools that load strictly read a model file: it has facts, and the text encoder is not in it. In older files
    the tensors are below `model`.
    """
    if isinstance(state.get(MODEL_KEY), Mapping):
        state.update(state.pop(MODEL_KEY))
    if isinstance(state.get(INFO_KEY), Mapping):
        del state[INFO_KEY]
    for name, value in module.text_encoder.state_dict().items():
        state.setdefault(f"{prefix}text_encoder.{name}", value)


class TracedGenerator(nn.Module):
    """A generator as TorchScript; `traced` is the trace of one call."""

    def __init__(self, traced: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.traced = traced

    def forward(self, image: Tensor) -> Tensor:
        """One prior image, shape (1, 1, H, W) as traced, to its counterfactual of the default description."""
        return self.traced(image)
