"""What the two stages share before the stock trainer takes over: networks, scale factor, channel weights."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from biomedjourney_monai.configuration import compose, config_files, overrides
from biomedjourney_monai.errors import ConfigError, TableError, WeightsError
from biomedjourney_monai.files import read_json
from biomedjourney_monai.memory import large_blocks_apart
from biomedjourney_monai.networks.prior_expectation import from_residual, is_residual
from biomedjourney_monai.networks.weights.model_file import load_tensors, weights_hash
from biomedjourney_monai.networks.weights.trained_size import IMAGE_SIZE_KEY
from biomedjourney_monai.training.data.examples import sample_pairs
from biomedjourney_monai.training.data.latents import ENCODING_FILE, require_fresh
from biomedjourney_monai.training.data.live_images import Encoders
from biomedjourney_monai.training.first_stage import load_autoencoder

logger = logging.getLogger(__name__)
EXPECTATION_PAIRS = 500
"""Of the training triples: what a prior tells of the next image is fitted to them."""

LEAST_SIGNAL = 1e-5
"""Share of the clean latent's variance at the last timestep: .0047 (Stable Diffusion), 4e-5 (DDPM), 2e-9 (cosine)."""


class StageSetup:
    """Builds the networks of `common.yaml` and fits them to the latent cache.

    Args:
        bundle_root: folder of `configs/common.yaml`.
        latents_dir: the latent cache.
        autoencoder_file: weights of the autoencoder that made the cache.
        start_from: model file whose denoiser the stage starts from; None starts from random weights.
        text_encoder_dir: folder of the text encoder; None for the one in `common.yaml`.
        seed: of the random weights.
        device: where the networks go.
        sections: overrides of `common.yaml` by section.
    """

    def __init__(
        self,
        *,
        bundle_root: str | Path,
        latents_dir: str | Path,
        autoencoder_file: str | Path,
        start_from: str | Path | None,
        text_encoder_dir: str | Path | None,
        seed: int,
        device: torch.device | str,
        sections: Mapping[str, Mapping[str, Any]],
    ) -> None:
        changes: dict[str, Any] = {name: section for name, section in sections.items() if section}
        changes["bundle_root"] = str(bundle_root)
        if text_encoder_dir is not None:
            changes["text_encoder_dir"] = str(text_encoder_dir)
        self.changes = changes
        """What is laid over `common.yaml`."""
        self.latents_dir = Path(latents_dir)
        self.encoding = read_json(Path(latents_dir) / ENCODING_FILE, made_by="encode")
        require_fresh(latents_dir)
        torch.manual_seed(seed)
        self.parser = compose(Path(bundle_root) / "configs" / "common.yaml", changes)
        self.autoencoder_file = Path(autoencoder_file)
        self.start_from = None if start_from is None else Path(start_from)
        self.device = torch.device(device)

    @cached_property
    def generator(self) -> Any:
        """The whole model; its autoencoder is the one that made the cache."""
        if weights_hash(self.autoencoder_file) != self.encoding["autoencoder"]:
            raise WeightsError(
                "the latent cache must come from the autoencoder that it is trained with",
                found=f"another {self.autoencoder_file.name}",
                action="Run `biomedjourney encode` again",
            )
        with large_blocks_apart():
            return self._build()

    def _build(self) -> Any:
        generator = self.parser.get_parsed_content("generator")
        require_learnable(generator.denoiser, generator.sampler.noise_scheduler)
        if (
            self.encoding.get("text_encoder", generator.text_encoder.weights_hash)
            != generator.text_encoder.weights_hash
        ):
            raise WeightsError(
                "the latent cache must come from the text encoder that it is trained with",
                found="another one",
                action="Run `biomedjourney encode` again, or point --text_encoder_dir at the folder it was made with",
            )
        load_autoencoder(generator.autoencoder, self.autoencoder_file, mmap=True)
        if self.start_from is not None:
            self._load_start(generator)
            load_autoencoder(generator.autoencoder, self.autoencoder_file, mmap=True)  # start_from may hold another one
        generator.denoiser.scale_factor.fill_(self.scale_factor)
        if self.start_from is None and generator.denoiser.prior_expectation is not None:
            self._fit_expectation(generator)
        return generator.to(self.device)

    def _load_start(self, generator: Any) -> None:
        state, info = load_tensors(self.start_from)
        if generator.denoiser.prior_expectation is not None and is_residual(info):
            logger.info(f"{self.start_from.name} adds the prior latent itself; its UNet starts under an expectation.")
            self._fit_expectation(generator)
            state, info = from_residual(state, info, generator.denoiser.prior_expectation)
        generator.take(state, info, file=self.start_from.name)

    def _fit_expectation(self, generator: Any) -> None:
        """Fit what a prior tells of the next image to the training triples.

        That is for a network that starts; one that goes on keeps the expectation it has learned with.
        """
        try:
            prior, new = sample_pairs(self.latents_dir, count=EXPECTATION_PAIRS, encoders=self._encoders_of(generator))
        except TableError:
            logger.info("There are no triples to learn from what a prior tells of the next image; nothing is assumed.")
            return
        generator.denoiser.prior_expectation.fit(self.scale_factor * prior, self.scale_factor * new)

    @property
    def denoiser(self) -> torch.nn.Module:
        """The network that is trained."""
        return self.generator.denoiser

    @property
    def encoders(self) -> Encoders | None:
        """What encodes images and texts while training goes on; None where the latent cache holds them."""
        return self._encoders_of(self.generator)

    def _encoders_of(self, generator: Any) -> Encoders | None:
        cached = self.encoding.get("cached", True)
        return None if cached else Encoders(generator.autoencoder, generator.text_encoder)

    @property
    def noise_scheduler(self) -> torch.nn.Module:
        """The sampler's noise schedule, which training must share."""
        return self.generator.sampler.noise_scheduler

    @property
    def scale_factor(self) -> float:
        """The latent multiplier that `encode` computed."""
        return float(self.encoding["scale_factor"])

    @property
    def channel_weight(self) -> Tensor:
        """Shape (C,): how much a latent channel moves the pixels."""
        return torch.tensor(self.encoding["channel_weight"])

    @cached_property
    def null_text_states(self) -> Tensor:
        """Token states of the empty description, shape (1, L, W).

        Where the latent cache holds the other texts, that was the text encoder's only work, and its memory is freed.
        """
        text_encoder = self.generator.text_encoder
        states = text_encoder.encode([""]).cpu()
        if self.encoders is None:
            text_encoder.to("meta")
        return states

    def parameters(self, **settings: Any) -> dict[str, Any]:
        """What MLflow and the model file should know of this stage."""
        size = self.encoding.get("image_size")  # older caches do not say it
        return {
            **settings,
            **({} if size is None else {IMAGE_SIZE_KEY: int(size)}),
            "autoencoder": self.encoding["autoencoder"],
            "scale_factor": self.scale_factor,
            "denoiser_parameters": sum(parameter.numel() for parameter in self.denoiser.parameters()),
        }


def run_stages(stages: Sequence[str], bundle_root: str | Path, *, arguments: Sequence[str] | None = None) -> None:
    """Run one stage after another, each as its own MONAI bundle run with its overlay.

    The stages take over the config files and overrides of the command line; they meet in model files.

    Raises:
        ConfigError: if this is not a `python -m monai.bundle run`, whose command line tells the overrides.
    """
    from fire.parser import DefaultParseValue
    from monai.bundle import ConfigWorkflow

    arguments = list(sys.argv if arguments is None else arguments)
    files = config_files(arguments)
    if not files:
        raise ConfigError(
            "both stages in one run must be started as `python -m monai.bundle run training --config_file …`",
            found="no --config_file",
            action="From Python, run ['train.yaml', 'pretrain.yaml'] and then ['train.yaml', 'finetune.yaml']",
        )
    options = {
        key: DefaultParseValue(value) for key, value in overrides(arguments) if key not in ("config_file", "run_id")
    }
    configs = [Path(name).resolve() for name in files]  # MONAI warns of two spellings of one folder
    for stage in stages:
        logger.info(f"Stage {stage}.")
        overlay = Path(bundle_root).resolve() / "configs" / f"{stage}.yaml"
        workflow = ConfigWorkflow(
            config_file=[str(name) for name in (*configs, overlay)], workflow_type="train", run_id="run", **options
        )
        workflow.initialize()
        workflow.run()
        workflow.finalize()


def require_learnable(denoiser: torch.nn.Module, noise_scheduler: torch.nn.Module) -> None:
    """Refuse a prediction that a network cannot give, or that cannot be sampled from.

    Raises:
        ConfigError: if what is not the clean latent is to be predicted as the prior's plus a change, or if noise is to
            be predicted although the schedule ends in noise alone, which tells nothing of the clean latent.
    """
    prediction = str(getattr(noise_scheduler, "prediction_type", "sample"))
    if prediction == "sample":
        return
    if getattr(denoiser, "prior_expectation", None) is not None:
        raise ConfigError(
            "denoiser#prior_expectation is for prediction_type sample, the clean latent",
            found=f"one with {prediction}",
            action="Pass --denoiser#prior_expectation '$None'",
        )
    if getattr(denoiser, "residual_to_prior", False):
        raise ConfigError(
            "denoiser#residual_to_prior is for prediction_type sample, the clean latent",
            found=f"true with {prediction}",
            action="Pass --denoiser#residual_to_prior false",
        )
    last = float(noise_scheduler.alphas_cumprod[-1])
    if prediction == "epsilon" and last < LEAST_SIGNAL:
        raise ConfigError(
            f"with prediction_type epsilon the noise schedule must leave a signal of {LEAST_SIGNAL:g} at its end",
            found=f"{last:.1g}",
            action="Take another schedule, such as --noise_scheduler#schedule scaled_linear_beta, or v_prediction",
        )
