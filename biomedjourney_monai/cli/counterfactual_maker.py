"""From an image file and a description to a counterfactual: the way that `sample`, its lists and `ladder` share.

Everything that can be refused is refused before anything is generated, and what is made carries what it was made with.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.cli.bundle_model import bundle_folder, image_size, load_generator, model_file
from biomedjourney_monai.cli.fast_import import import_monai_quickly
from biomedjourney_monai.cli.sampling_arguments import check_sampling_arguments
from biomedjourney_monai.generation.provenance import content_hash, provenance

if TYPE_CHECKING:
    import numpy as np

    from biomedjourney_monai.diffusion.controls import Made


@dataclass(frozen=True)
class Prior:
    """A prior image that has been read and checked.

    Attributes:
        image: float32 in [0, 1], shape (S, S).
        original_hw: height and width in the file.
        overruled: the reason codes of refusals that were overruled, or "".
    """

    image: np.ndarray = field(repr=False)
    original_hw: tuple[int, int]
    overruled: str = ""

    @property
    def content_hash(self) -> str:
        """Sixteen hexadecimal digits that tell this image from others."""
        return content_hash(self.image)


class CounterfactualMaker:
    """The model, its settings, and what may be asked of it.

    Args:
        arguments: of `add_sampling_arguments` and `add_control_arguments`.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        check_sampling_arguments(arguments)
        import_monai_quickly(arguments)
        from biomedjourney_monai.generation.prior_check import check_resolution
        from biomedjourney_monai.networks.weights.trained_size import trained_size

        self.arguments = arguments
        self.force = bool(getattr(arguments, "force", False))
        self.size = image_size(arguments)
        self.overruled = check_resolution(
            self.size, trained_size(bundle_folder(arguments), model_file(arguments)), force=self.force
        )
        self._generator: Any = None
        self._provenance: dict[str, Any] | None = None

    @property
    def generator(self) -> Any:
        """The model, loaded when it is first needed: refusals come before that."""
        if self._generator is None:
            from biomedjourney_monai.diffusion.controls import control

            a = self.arguments
            generator = load_generator(
                a,
                steps=a.steps,
                text_guidance_scale=getattr(a, "text_guidance_scale", None),
                image_guidance_scale=getattr(a, "image_guidance_scale", None),
                solver=a.solver,
                guidance_interval=getattr(a, "guidance_interval", None),
                keep_unchanged=getattr(a, "keep_unchanged", None),
            )
            settings = {"strength": getattr(a, "strength", 1.0), "init_noise": getattr(a, "init_noise", "random")}
            self._generator = control(generator, **settings)
        return self._generator

    def share_generator(self, generator: Any) -> None:
        """Take a model that another maker has loaded, with the sampler that is in it."""
        self._generator = generator

    def read_prior(self, path: str | Path) -> Prior:
        """Read and check a prior image.

        Raises:
            ImageError: with a reason code.
        """
        from biomedjourney_monai.generation.prior_check import check_prior
        from biomedjourney_monai.radiographs import load_radiograph, original_size
        from biomedjourney_monai.radiographs.read.marked_files import carries_mark

        image = load_radiograph(path, size=self.size)
        overruled = check_prior(image, is_marked=carries_mark(path), force=self.force)
        return Prior(image, original_size(path), overruled)

    def check_description(self, text: str) -> str:
        """Check a description, and say aloud what is to be said; the reason code that was overruled, or "".

        Raises:
            DescriptionError: with a reason code.
        """
        from biomedjourney_monai.generation.description_check import check_description
        from biomedjourney_monai.preparation.reports.statements import read_statements

        check = check_description(text, self.generator.text_encoder, name_findings=read_statements, force=self.force)
        for warning in check.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        return check.overruled

    def read_region(self, prior: Prior, region: str | None = None) -> Any:
        """Where change is allowed: None, "auto" or a mask."""
        from biomedjourney_monai.generation.region import read_region

        region = region or getattr(self.arguments, "region", None)
        return read_region(region, size=self.size, prior_hw=prior.original_hw)

    def make(
        self, priors: Sequence[Prior], descriptions: Sequence[str], seeds: Sequence[int], *, region: Any = None
    ) -> Made:
        """Generate; see `diffusion.controls.make`."""
        import numpy as np
        import torch

        from biomedjourney_monai.diffusion.controls import make

        images = torch.from_numpy(np.stack([prior.image for prior in priors]))[:, None]
        return make(self.generator, images, list(descriptions), seeds=list(seeds), region=region)

    def metadata(self, prior: Prior | None, description: str, seed: int, *overruled: str) -> dict[str, Any]:
        """What a picture says of how it was made."""
        content = {**self.provenance(), "progression_description": description, "seed": seed}
        codes = [code for code in (self.overruled, prior.overruled if prior else "", *overruled) if code]
        if prior is not None:
            content["prior"] = prior.content_hash
        return {**content, "overruled": ", ".join(codes)} if codes else content

    def provenance(self) -> dict[str, Any]:
        """What made the pictures: the mark, the software, the model and its settings."""
        if self._provenance is None:
            self._provenance = provenance(self.generator, model_file(self.arguments))
            if getattr(self.arguments, "region", None):
                self._provenance["region"] = "auto" if self.arguments.region == "auto" else "mask"
        return dict(self._provenance)

    def judges(self) -> Any:
        """The judges beside the model."""
        from biomedjourney_monai.evaluation.judges.loading import load_judges

        return load_judges(bundle_folder(self.arguments) / "models")


def finished_picture(image: np.ndarray, prior: Prior) -> np.ndarray:
    """A generated square at the prior's own size, marked, float32."""
    from biomedjourney_monai.radiographs import mark_synthetic, restore

    return mark_synthetic(restore(image, prior.original_hw))
