"""The model as one object: check a request, generate, document."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from tqdm import tqdm

from biomedjourney_monai.configuration import compose
from biomedjourney_monai.diffusion.controls import Generated, RegionLike, generate
from biomedjourney_monai.diffusion.sampler import CounterfactualSampler
from biomedjourney_monai.diffusion.settings import SamplingSettings
from biomedjourney_monai.errors import refuse_unknown_keywords
from biomedjourney_monai.generation.description_check import DescriptionCheck, check_description, refuse_empty
from biomedjourney_monai.generation.detail import NONE, TRANSFER, check_detail
from biomedjourney_monai.generation.effect import warn_of_no_change
from biomedjourney_monai.generation.prior import Prior, read_prior
from biomedjourney_monai.generation.prior_check import check_prior, check_resolution, doubts_of_view
from biomedjourney_monai.generation.provenance import document, provenance
from biomedjourney_monai.generation.region import read_region
from biomedjourney_monai.generation.request import Checked, Request
from biomedjourney_monai.generation.result import Result
from biomedjourney_monai.model_config import ModelConfig
from biomedjourney_monai.networks.distilled import Distilled
from biomedjourney_monai.networks.generator import CounterfactualGenerator
from biomedjourney_monai.networks.weights.trained_size import trained_size
from biomedjourney_monai.networks.weights.trained_views import trained_views
from biomedjourney_monai.preparation.descriptions.request import NO_CHANGE
from biomedjourney_monai.radiographs.marking import check_markable
from biomedjourney_monai.radiographs.read.view_position import FRONTAL

BATCH_SIZE = 16
OnStep = Callable[[int], None]
Reviewer = Callable[[Checked, np.ndarray], tuple[str, ...]]
"""A checked request and its samples, shape (K, S, S), in [0, 1] → warnings for the user."""


class CounterfactualModel:
    """A model and its settings. Threads may share it.

    The weights are loaded when they are first needed, so that requests are refused before.

    Args:
        config: the files that make the model.
        settings: of sampling; None takes the configuration's.
        precision: of the denoiser: "float32", "bfloat16", "float16" or "auto"; None takes the configuration's.
        device: "cpu" or "cuda"; None is the CPU.
        force: overrule a refusal of the resolution; see `check_resolution`.
        verbatim: give the text encoder descriptions as they are; None takes the configuration's.
        generator: a generator that is loaded already, used with its own sampler.
        reviewer: looks at the samples after generation, for example `evaluation.judges.drawn.JudgeReview`.
        detail: how pictures get the prior's size: "transfer" adds the change to the prior's own pixels, "none"
            enlarges the model's picture.

    Raises:
        SettingError: for another `detail`, or for a setting that a student of few steps was not trained for.
        ConfigError: if the configuration cannot be used.
        ImageError: with reason "wrong_resolution".
    """

    def __init__(
        self,
        config: ModelConfig,
        settings: SamplingSettings | None = None,
        *,
        precision: str | None = None,
        device: str | None = None,
        force: bool = False,
        verbatim: bool | None = None,
        generator: CounterfactualGenerator | None = None,
        reviewer: Reviewer | None = None,
        detail: str = TRANSFER,
    ) -> None:
        self.detail = check_detail(detail)
        self.config, self.settings, self.reviewer = config, settings or SamplingSettings(), reviewer
        parser = config.compose()
        self.size = generator.image_size if generator is not None else int(parser.get("image_size"))
        self.verbatim = bool(parser.get("verbatim")) if verbatim is None else verbatim
        trained = trained_size(config.bundle, config.weights)
        self._overruled = check_resolution(self.size, trained, force=force)
        self.views = trained_views(config.weights)
        self._distilled = Distilled.in_file(config.weights)
        self._check_settings()
        self._loaded = _Loaded(partial(config.load_generator, precision=precision, device=device), generator)
        self._provenance: dict[str, Any] | None = None

    @property
    def generator(self) -> CounterfactualGenerator:
        """The network, loaded at its first use."""
        return self._loaded()

    @property
    def sampler(self) -> CounterfactualSampler:
        """The generator's sampler under this model's settings."""
        return cast(CounterfactualSampler, self.generator.sampler).with_settings(self.settings)

    def with_settings(self, settings: SamplingSettings) -> CounterfactualModel:
        """The same network under other settings; the weights are shared."""
        changed = copy.copy(self)
        changed.settings, changed._provenance = settings, None
        changed._check_settings()
        return changed

    def _check_settings(self) -> None:
        """Refuse settings that a student of few steps was not trained for."""
        if self._distilled is not None:
            self._distilled.check(self.settings.given())

    @refuse_unknown_keywords
    def generate(
        self,
        prior: Prior | str | Path | np.ndarray,
        description: str,
        *,
        seed: int = 0,
        samples: int = 1,
        region: str | Path | np.ndarray | None = None,
        force: bool = False,
        verbatim: bool | None = None,
        progress: bool = False,
    ) -> Result:
        """Make counterfactuals of one prior.

        Args:
            prior: JPEG, PNG, NIfTI or DICOM file; or pixels, shape (H, W), bright is dense.
            description: how the disease progresses.
            seed: of the first sample's noise.
            samples: number of samples, with consecutive seeds from `seed` on.
            region: None for everywhere, "auto" for where the description acts, or a mask of the prior's size.
            force: overrule refusals of the prior or the description; the metadata record it.
            verbatim: give the text encoder the description as it is, not in the words of its training descriptions;
                None takes the model's default.
            progress: show a progress bar for several samples.

        Raises:
            BiomedJourneyError: if the prior, the description or a setting is refused; some have a `reason` code.

        Example:
            >>> import biomedjourney_monai as bj  # doctest: +SKIP
            >>> result = bj.load_model().generate("chest.dcm", "New large left pleural effusion.")  # doctest: +SKIP
        """
        request = Request(prior, description, seed=seed, samples=samples, region=region, force=force, verbatim=verbatim)
        return self.run(self.check(request), progress=progress)

    def check(self, request: Request) -> Checked:
        """Read the request's prior and region, and refuse unsuitable requests.

        Raises:
            ImageError: for the prior or the region, with a `reason`.
            DescriptionError: for the description, with a `reason`.
        """
        refuse_empty(request.description)
        prior = read_prior(request.prior, size=self.size)
        overruled = check_prior(
            prior.image, is_marked=prior.is_marked, other_body_part=prior.other_body_part, force=request.force
        )
        check_markable(*prior.original_hw)
        region = read_region(request.region, size=self.size, prior_hw=prior.original_hw)
        described = self.check_description(request.description, force=request.force, verbatim=request.verbatim)
        seeds = tuple(range(request.seed, request.seed + request.samples))
        codes = (self._overruled, overruled, described.overruled)
        warnings = prior.warnings + self.view_warnings(prior.view_position)
        warnings += doubts_of_view(prior.image) + described.warnings
        text = warnings, described.prompt, described.understood
        return Checked(prior, request.description, seeds, region, codes, *text)

    def view_warnings(self, view_position: str) -> tuple[str, ...]:
        """A warning for a film of another frontal view, "PA" or "AP", than the weights were trained on."""
        if view_position not in FRONTAL or view_position in self.views:
            return ()
        film = {"PA": "a PA film", "AP": "an AP film"}[view_position]
        return (f"This prior is {film}; the weights were trained on {' and '.join(self.views)} films (other_view).",)

    def check_description(self, text: str, *, force: bool = False, verbatim: bool | None = None) -> DescriptionCheck:
        """Check a description; see `description_check.check_description`."""
        as_it_is = self.verbatim if verbatim is None else verbatim
        return check_description(text, self.generator.text_encoder, force=force, verbatim=as_it_is)

    def run(
        self,
        checked: Checked,
        *,
        batch_size: int = BATCH_SIZE,
        on_step: OnStep | None = None,
        progress: bool = False,
    ) -> Result:
        """Generate every sample of a checked request.

        Args:
            batch_size: samples in one batch.
            on_step: called after each denoising step with its index.
            progress: show a progress bar for several samples.
        """
        squares, first, seeds = [], None, checked.seeds
        if checked.draws_nothing:
            return self._undrawn(checked)
        with tqdm(total=len(seeds), desc="sample", unit="image", disable=not progress or len(seeds) == 1) as bar:
            for start in range(0, len(seeds), batch_size):
                batch = seeds[start : start + batch_size]
                priors, texts = np.stack([checked.prior.image] * len(batch)), [checked.text] * len(batch)
                made = self.draw(priors, texts, batch, region=checked.region, on_step=on_step)
                first = first or made
                squares.append(made.images[:, 0].cpu().numpy())
                bar.update(len(batch))
        drawn, region = np.concatenate(squares), None if first is None else first.region
        warnings = self.warn_after(checked, drawn, region=region, on_step=on_step)
        return Result.of(checked, drawn, self.documents(checked), first, warnings)

    def _undrawn(self, checked: Checked, samples: int | None = None) -> Result:
        """The prior's own picture, for a request of which nothing can be drawn."""
        documents = self.documents(checked)[:samples]
        return Result.of(checked, np.stack([checked.prior.image] * len(documents)), documents)

    def warn_after(
        self,
        checked: Checked,
        squares: np.ndarray,
        *,
        region: torch.Tensor | None = None,
        on_step: OnStep | None = None,
    ) -> tuple[str, ...]:
        """Warnings for the user about what was drawn: too little, or not what was asked for.

        A result that hardly differs from its prior is compared with one of the same noise without change, which is
        drawn for it.

        Args:
            squares: the samples, shape (K, S, S), in [0, 1].
            region: where change was allowed, of `Generated`; None for everywhere.
            on_step: called after each denoising step of the comparison.
        """
        if checked.draws_nothing:
            return ()
        allowed = None if region is None else region[0, 0].cpu().numpy()

        def draw_twin(sample: int) -> np.ndarray:
            confined = checked.region if allowed is None else allowed > 0.5
            priors, seeds = checked.prior.image[None], checked.seeds[sample : sample + 1]
            made = self.draw(priors, [NO_CHANGE], seeds, region=confined, on_step=on_step)
            return np.asarray(made.images[0, 0].cpu().numpy())

        warnings: tuple[str, ...] = ()
        if checked.asks_for_change:
            warnings = warn_of_no_change(checked.prior.image, squares, draw_twin, region=allowed)
        return warnings if self.reviewer is None else warnings + self.reviewer(checked, squares)

    def run_together(self, requests: Sequence[Checked]) -> list[Result]:
        """Generate one sample of each request; requests without a mask share a batch."""
        groups: dict[str, list[int]] = {}
        results: dict[int, Result] = {}
        for number, checked in enumerate(requests):
            if checked.draws_nothing:
                results[number] = self._undrawn(checked, 1)
                continue
            key = f"mask {number}" if isinstance(checked.region, np.ndarray) else checked.region or ""
            groups.setdefault(key, []).append(number)
        for numbers in groups.values():
            group = [requests[number] for number in numbers]
            made = self.draw(
                np.stack([checked.prior.image for checked in group]),
                [checked.text for checked in group],
                [checked.seeds[0] for checked in group],
                region=group[0].region,
            )
            for row, (number, checked) in enumerate(zip(numbers, group, strict=True)):
                square = made.images[row : row + 1, 0].cpu().numpy()
                region = None if made.region is None else made.region[min(row, len(made.region) - 1)][None]
                warnings = self.warn_after(checked, square, region=region)
                results[number] = Result.of(checked, square, self.documents(checked)[:1], effect_warnings=warnings)
        return [results[number] for number in range(len(requests))]

    def draw(
        self,
        priors: np.ndarray,
        descriptions: Sequence[str],
        seeds: Sequence[int],
        *,
        region: RegionLike | None = None,
        on_step: OnStep | None = None,
    ) -> Generated:
        """Generate without any check.

        Args:
            priors: float32 in [0, 1], shape (B, S, S).
            descriptions: one for each prior.
            seeds: one for each prior.
            region: None, "auto", or a mask of the square, shape (S, S).
            on_step: called after each denoising step with its index.
        """
        images, sampler = torch.from_numpy(priors)[:, None], self.sampler
        controls: dict[str, Any] = {"seeds": list(seeds), "sampler": sampler, "region": region, "on_step": on_step}
        return generate(self.generator, images, list(descriptions), **controls)

    def provenance(self) -> dict[str, Any]:
        """The metadata that all pictures of this model share: mark, software, weights and settings."""
        if self._provenance is None:
            precision = str(getattr(self.generator.denoiser, "precision", "float32"))
            self._provenance = provenance(self.config.weights, self.sampler.settings(), precision=precision)
        return dict(self._provenance)

    def documents(self, checked: Checked) -> tuple[dict[str, Any], ...]:
        """The metadata of each sample of a checked request."""
        describe = partial(document, self.provenance(), description=checked.description, prior=checked.prior.image)
        describe = partial(describe, prompt=checked.prompt, region=checked.region, overruled=checked.overruled)
        describe = partial(describe, draws_nothing=checked.draws_nothing)
        describe = partial(describe, detail=self.detail if checked.prior.has_film else NONE)
        return tuple(describe(seed=seed) for seed in checked.seeds)


class _Loaded:
    """Loads a generator once, whichever thread asks first."""

    def __init__(self, load: Callable[[], CounterfactualGenerator], generator: CounterfactualGenerator | None) -> None:
        self._load, self._generator, self._lock = load, generator, threading.Lock()

    def __call__(self) -> CounterfactualGenerator:
        with self._lock:
            if self._generator is None:
                self._generator = self._load()
            return self._generator


def load_model(
    weights: str | Path | None = None,
    *,
    bundle: str | Path | None = None,
    overlay: str | Path | None = None,
    text_encoder: str | Path | None = None,
    settings: SamplingSettings | None = None,
    precision: str | None = None,
    device: str | None = None,
    force: bool = False,
    detail: str = TRANSFER,
) -> CounterfactualModel:
    """Load a model with its weights.

    Args:
        weights: model file; None for the bundle's `models/model.pt`.
        bundle: bundle folder; None for the installed one.
        overlay: config laid over `common.yaml`, for example the bundle's `configs/sd15.yaml`.
        text_encoder: folder of the text encoder; None for the config's.
        settings: of sampling; None takes the configuration's.
        precision: of the denoiser; see `CounterfactualModel`.
        device: "cpu" or "cuda"; None is the CPU.
        force: overrule a refusal of the resolution.
        detail: "transfer" or "none"; see `CounterfactualModel`.

    Raises:
        ConfigError: if the configuration cannot be used.
        WeightsError: if the weights are missing or do not fit.
    """
    config = ModelConfig.find(bundle, weights, overlay, text_encoder)
    model = CounterfactualModel(config, settings, precision=precision, device=device, force=force, detail=detail)
    _ = model.generator
    return model


def build_generator(
    bundle: str | Path,
    *,
    device: Any = "cpu",
    strength: float = 1.0,
    init_noise: str = "random",
    weights: str | Path = "",
    **sections: Any,
) -> CounterfactualGenerator:
    """Build the generator of a bundle without its weights, as `inference.yaml` does.

    Args:
        bundle: the bundle folder.
        device: to move it to.
        strength: share of the noise to start from, in (0, 1].
        init_noise: "random" or "from-prior".
        weights: model file that is loaded afterwards; a student's facts change the network and the sampler's settings.
        sections: laid over the sections of `common.yaml`; a number or a path replaces the entry.

    Raises:
        ConfigError: if a key does not exist or a setting is out of range.
    """
    settings = SamplingSettings(strength=strength, init_noise=init_noise)
    common = Path(bundle) / "configs" / "common.yaml"
    parser = compose(common, {**sections, "bundle_root": str(bundle)})
    generator: CounterfactualGenerator = parser.get_parsed_content("generator")
    distilled = Distilled.in_file(weights)
    if distilled is not None:
        generator.become_student(distilled)
        generator.prefer_over_student(sections.get("sampler") or {})
    generator.sampler = generator.sampler.with_settings(settings)  # type: ignore[attr-defined]
    return generator.to(device)
