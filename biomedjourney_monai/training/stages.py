"""The stages of training: their networks, fitted to the latent cache, and running one after the other."""

import copy
import logging
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import AutoencoderKL
from monai.networks.schedulers import DDPMScheduler
from torch import Tensor

from biomedjourney_monai.configuration import compose, config_files, overrides, running_workflow
from biomedjourney_monai.diffusion.settings import SamplingSettings
from biomedjourney_monai.errors import ConfigError, TableError, WeightsError
from biomedjourney_monai.memory import large_blocks_apart
from biomedjourney_monai.networks.denoiser import Denoiser
from biomedjourney_monai.networks.distilled import DISTILLED_KEY, Distilled
from biomedjourney_monai.networks.fast_path import FastDenoiser, speed_up
from biomedjourney_monai.networks.generator import CounterfactualGenerator
from biomedjourney_monai.networks.prior_expectation import PriorExpectation, from_residual, is_residual
from biomedjourney_monai.networks.weights.geometry import GEOMETRY_KEY
from biomedjourney_monai.networks.weights.model_file import load_tensors, weights_hash
from biomedjourney_monai.networks.weights.trained_size import IMAGE_SIZE_KEY
from biomedjourney_monai.networks.weights.trained_views import VIEWS_KEY
from biomedjourney_monai.training.data.examples import Encoders, sample_pairs
from biomedjourney_monai.training.data.folders import Folders, as_folders, views_in
from biomedjourney_monai.training.data.latents import require_fresh
from biomedjourney_monai.training.data.mixture import read_encoding
from biomedjourney_monai.training.first_stage import load_autoencoder

logger = logging.getLogger(__name__)
EXPECTATION_PAIRS = 500
"""Training triples that the prior expectation is fitted to."""

MOST_ENCODER_ERROR = 0.02
"""Relative difference of two encoders' latents; one may have been stored as float16."""

LEAST_SIGNAL = 1e-5
"""Share of the clean latent's variance at the last timestep: .0047 (Stable Diffusion), 4e-5 (DDPM), 2e-9 (cosine)."""


class StageSetup:
    """Builds the networks of `common.yaml` and fits them to the latent cache.

    Args:
        bundle_root: folder of `configs/common.yaml`.
        latents_dir: the latent cache; several are a mixture.
        autoencoder_file: weights of the autoencoder that made the cache.
        start_from: model file whose denoiser the stage starts from; None starts from random weights.
        new_text_encoder: whether `start_from` may have been trained with another text encoder, such as an earlier one.
        text_encoder_dir: folder of the text encoder; None for the one in `common.yaml`.
        seed: of the random weights.
        device: where the networks go.
        sections: overrides of `common.yaml` by section.
        weights: share of each latent cache in the draws; None for the shares of their examples.
        scale_factor: the latent multiplier: "cache" for the one that `encode` computed; "start" for the one of
            `start_from`, and the cache's for random weights; or a number.

    Attributes:
        changes: everything that is laid over `common.yaml`.
    """

    def __init__(
        self,
        *,
        bundle_root: str | Path,
        latents_dir: Folders,
        autoencoder_file: str | Path,
        start_from: str | Path | None,
        new_text_encoder: bool = False,
        text_encoder_dir: str | Path | None,
        seed: int,
        device: torch.device | str,
        sections: Mapping[str, Mapping[str, Any]],
        weights: Sequence[float] | None = None,
        scale_factor: str | float = "cache",
    ) -> None:
        if scale_factor not in ("cache", "start") and not (isinstance(scale_factor, (int, float)) and scale_factor > 0):
            raise ConfigError("scale_factor must be cache, start or a number above 0", found=str(scale_factor))
        changes: dict[str, Any] = {name: section for name, section in sections.items() if section}
        changes["bundle_root"] = str(bundle_root)
        if text_encoder_dir is not None:
            changes["text_encoder_dir"] = str(text_encoder_dir)
        self.changes = changes
        self.latents_dir, self.weights, self.wanted_scale = latents_dir, weights, scale_factor
        self.encoding = read_encoding(latents_dir, weights=weights)
        for folder in as_folders(latents_dir):
            require_fresh(folder)
        torch.manual_seed(seed)
        self.parser = compose(Path(bundle_root) / "configs" / "common.yaml", changes)
        self.autoencoder_file = Path(autoencoder_file)
        self.start_from = None if start_from is None else Path(start_from)
        self.new_text_encoder = new_text_encoder
        self.device = torch.device(device)

    @cached_property
    def generator(self) -> CounterfactualGenerator:
        """The whole model, with the autoencoder that made the cache."""
        if weights_hash(self.autoencoder_file) != self.encoding["autoencoder"]:
            raise WeightsError(
                "the latent cache must come from the autoencoder that it is trained with",
                found=f"another content of {self.autoencoder_file.name}",
                action="Run `biomedjourney encode` again",
            )
        with large_blocks_apart():
            return self._build()

    def _build(self) -> CounterfactualGenerator:
        generator: CounterfactualGenerator = self.parser.get_parsed_content("generator")
        require_learnable(generator.denoiser, self.parser.get_parsed_content("noise_scheduler"))
        own = generator.text_encoder.weights_hash
        cached = self.encoding.get("text_encoder", own)
        if cached != own:
            raise WeightsError(
                "the latent cache must come from the text encoder that it is trained with",
                found=f"text encoder {own[:12]} where {cached[:12]} was used",
                action="Run `biomedjourney encode` again, or point --text_encoder_dir at the folder it was made with",
            )
        load_autoencoder(generator.autoencoder, self.autoencoder_file, mmap=True)
        if self.start_from is not None:
            is_student = generator.denoiser.distilled is not None
            of_cache = copy.deepcopy(generator.autoencoder) if is_student else generator.autoencoder
            self._load_start(generator, self.start_from)
            if is_student:  # with its teacher's decoder
                require_same_encoder(generator.autoencoder, of_cache, file=self.start_from.name)
            else:
                load_autoencoder(of_cache, self.autoencoder_file, mmap=True)  # start_from may contain another
        elif generator.denoiser.distilled is not None:
            raise ConfigError(
                "a student starts from its teacher", found="no start_from", action="Pass --start_from FILE"
            )
        generator.denoiser.scale_factor.fill_(self.scale_factor)
        expectation = generator.denoiser.prior_expectation
        if self.start_from is None and expectation is not None:
            self._fit_expectation(expectation, generator)
        if generator.denoiser.distilled is not None:
            self._teacher = copy.deepcopy(generator.denoiser).to(self.device)
            steps = SamplingSettings(steps=generator.denoiser.distilled.steps[0])
            generator.sampler = generator.sampler.with_settings(steps)  # type: ignore[attr-defined]
        return generator.to(self.device)

    def teacher(self, precision: str) -> FastDenoiser:
        """The teacher of a student: the denoiser of `start_from`, frozen; it ignores the student's scales."""
        _ = self.generator
        self._teacher.distilled = None
        teacher, self._teacher.unet.num_class_embeds = self._teacher, None
        return speed_up(teacher, precision=precision)

    def _load_start(self, generator: CounterfactualGenerator, file: Path) -> None:
        state, info = load_tensors(file)
        if self.new_text_encoder:
            info = {key: value for key, value in info.items() if key != "text_encoder"}
        expectation = generator.denoiser.prior_expectation
        if generator.denoiser.distilled is not None:
            state, info = as_student(state, info, generator.denoiser, file=file.name)
        if expectation is not None and is_residual(info):
            logger.info(f"{file.name} adds the prior latent itself; its UNet is converted to a prior expectation.")
            self._fit_expectation(expectation, generator)
            state, info = from_residual(state, info, expectation)
        generator.take(state, info, file=file.name)

    def _fit_expectation(self, expectation: PriorExpectation, generator: CounterfactualGenerator) -> None:
        """Fit the prior expectation to the training triples, for a network that has none yet."""
        try:
            prior, new = sample_pairs(
                self.latents_dir,
                count=EXPECTATION_PAIRS,
                encoders=self._encoders_of(generator),
                weights=self.weights,
            )
        except TableError:
            logger.info("There are no triples to fit the prior expectation to; its defaults are kept.")
            return
        expectation.fit(self.scale_factor * prior, self.scale_factor * new)

    @property
    def denoiser(self) -> Denoiser:
        """The network that is trained."""
        return self.generator.denoiser

    @property
    def encoders(self) -> Encoders | None:
        """Encoders of images and texts during training; None if the latent cache contains them."""
        return self._encoders_of(self.generator)

    def _encoders_of(self, generator: CounterfactualGenerator) -> Encoders | None:
        cached = self.encoding.get("cached", True)
        return None if cached else Encoders(generator.autoencoder, generator.text_encoder)

    @property
    def noise_scheduler(self) -> DDPMScheduler:
        """The noise schedule that sampler and training share."""
        scheduler: DDPMScheduler = self.parser.get_parsed_content("noise_scheduler")
        return scheduler

    @cached_property
    def scale_factor(self) -> float:
        """The latent multiplier: the cache's, the start model's or a given one."""
        if self.wanted_scale == "start" and self.start_from is not None:
            state, _ = load_tensors(self.start_from, mmap=True)
            return float(state["denoiser.scale_factor"])
        if isinstance(self.wanted_scale, (int, float)):
            return float(self.wanted_scale)
        return float(self.encoding["scale_factor"])

    @property
    def channel_weight(self) -> Tensor:
        """How much each latent channel changes the pixels, shape (C,)."""
        return torch.tensor(self.encoding["channel_weight"])

    @cached_property
    def null_text_states(self) -> Tensor:
        """Token states of the empty description, shape (1, L, W).

        If the latent cache contains the other texts, the text encoder is not used again, and its memory is freed.
        """
        text_encoder = self.generator.text_encoder
        states = text_encoder.encode([""]).cpu()
        if self.encoders is None:
            text_encoder.to("meta")
        return states

    def parameters(self, **settings: Any) -> dict[str, Any]:
        """Facts about this stage for MLflow and the model file."""
        size = self.encoding.get("image_size")  # absent from older caches
        views = views_in(self.latents_dir)
        return {
            **settings,
            **({} if self.denoiser.distilled is None else {"teacher": weights_hash(self.start_from or "")}),
            **({} if size is None else {IMAGE_SIZE_KEY: int(size)}),
            **({VIEWS_KEY: views} if views else {}),
            "autoencoder": self.encoding["autoencoder"],
            "scale_factor": self.scale_factor,
            "denoiser_parameters": sum(parameter.numel() for parameter in self.denoiser.parameters()),
        }


def as_student(
    state: Mapping[str, Tensor], info: Mapping[str, Any], student: Denoiser, *, file: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A teacher's tensors and facts as those of a student at its start, whose scales have no effect yet.

    Raises:
        WeightsError: if the file is itself a student's.
    """
    if Distilled.of(info) is not None:
        action = "Pass the model file that finetune wrote"
        raise WeightsError(f"{file} must be a teacher", found="a student of few steps", action=action)
    assert student.distilled is not None
    added = {f"denoiser.{name}": value for name, value in student.state_dict().items() if ".class_embedding." in name}
    geometry = dict(info.get(GEOMETRY_KEY, {}))
    if "denoiser" in geometry:
        geometry["denoiser"] = {**geometry["denoiser"], DISTILLED_KEY: student.distilled.facts()}
    return {**state, **added}, {**info, **({GEOMETRY_KEY: geometry} if geometry else {})}


@torch.no_grad()
def require_same_encoder(given: AutoencoderKL, own: AutoencoderKL, *, file: str) -> None:
    """Refuse a teacher of other latents; its decoder may be another.

    Args:
        given: of the teacher's file.
        own: that made the latent cache.
        file: name of the teacher's file, for the error.

    Raises:
        WeightsError: if both encode noise differently.
    """
    noise = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latent, expected = given.encode(noise)[0], own.encode(noise)[0]
    if latent.shape != expected.shape or float((latent - expected).norm() / expected.norm()) > MOST_ENCODER_ERROR:
        raise WeightsError(
            f"{file} must be of the autoencoder that made the latent cache",
            found="another encoder",
            action="Run `biomedjourney encode` with its autoencoder, or pass another teacher as --start_from",
        )


def run_stages(stages: Sequence[str], bundle_root: str | Path, *, arguments: Sequence[str] | None = None) -> None:
    """Run one stage after another, each as its own MONAI bundle run with its overlay.

    The stages use the config files and overrides of the command line, or else the config of the MONAI workflow that
    runs, and pass model files on.

    Raises:
        ConfigError: if there is neither.
    """
    from fire.parser import DefaultParseValue
    from monai.bundle import ConfigWorkflow

    arguments = list(sys.argv if arguments is None else arguments)
    folder = Path(bundle_root).resolve() / "configs"
    configs = [Path(name).resolve() for name in config_files(arguments)]  # MONAI warns of two spellings of one folder
    if configs:
        given = {key: value for key, value in overrides(arguments) if key not in ("config_file", "run_id")}
        options: dict[str, Any] = {key: DefaultParseValue(value) for key, value in given.items()}
    else:
        configs, options = [folder / "train.yaml"], _changes_of_workflow(folder / "train.yaml")
    for stage in stages:
        logger.info(f"Stage {stage}.")
        overlay = folder / f"{stage}.yaml"
        workflow = ConfigWorkflow(
            config_file=[str(name) for name in (*configs, overlay)], workflow_type="train", run_id="run", **options
        )
        workflow.initialize()
        workflow.run()
        workflow.finalize()


def _changes_of_workflow(base_file: Path) -> dict[str, Any]:
    """What the running workflow's config changes in `train.yaml`, except what a stage sets itself."""
    workflow = running_workflow()
    if workflow is None:
        raise ConfigError(
            "both stages in one run need a run of `train.yaml` by MONAI",
            found="no --config_file and no ConfigWorkflow",
            action="Run `python -m monai.bundle run training --config_file …`",
        )
    base = compose(base_file).get()
    own = {key: value for key, value in workflow.parser.get().items() if key not in ("stage", "training", "run")}
    return {key: value for key, value in own.items() if not key.startswith("_") and value != base.get(key)}


def require_learnable(denoiser: Denoiser, noise_scheduler: DDPMScheduler) -> None:
    """Refuse combinations of prediction type, denoiser and noise schedule that cannot be learned or sampled from.

    Raises:
        ConfigError: if a denoiser that adds the prior predicts anything but the clean latent, or if noise is predicted
            under a schedule that ends in pure noise, from which the clean latent cannot be computed.
    """
    prediction = str(noise_scheduler.prediction_type)
    if prediction == "sample":
        return
    given = denoiser.prior_expectation is not None, denoiser.residual_to_prior
    for name, used, off in zip(("prior_expectation", "residual_to_prior"), given, ("'$None'", "false")):
        if used:
            raise ConfigError(
                f"denoiser#{name} is for prediction_type sample, the clean latent",
                found=f"prediction_type {prediction}",
                action=f"Pass --denoiser#{name} {off}",
            )
    last = float(noise_scheduler.alphas_cumprod[-1])
    if prediction == "epsilon" and last < LEAST_SIGNAL:
        raise ConfigError(
            f"with prediction_type epsilon the noise schedule must end with a signal of {LEAST_SIGNAL:g} or more",
            found=f"{last:.1g}",
            action="Use another schedule, such as --noise_scheduler#schedule scaled_linear_beta, or v_prediction",
        )
