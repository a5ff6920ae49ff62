"""What the web page asks for, done: an upload looked at, counterfactuals made and judged, files to take home.

The pictures are those of `biomedjourney sample` for the same prior, description, settings and seed, byte for byte.
"""

from __future__ import annotations

import argparse
import copy
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.cli.app_checks import check_amount, prior_warnings, region_of, unmet
from biomedjourney_monai.cli.app_examples import EXAMPLES, render_example
from biomedjourney_monai.cli.bundle_model import bundle_folder
from biomedjourney_monai.cli.counterfactual_maker import CounterfactualMaker, Prior
from biomedjourney_monai.cli.sample_one import draw_samples
from biomedjourney_monai.generation.provenance import region_name
from biomedjourney_monai.schema import FINDINGS

if TYPE_CHECKING:
    import numpy as np

    from biomedjourney_monai.clinic.web.request import PageRequest
    from biomedjourney_monai.clinic.web.uploads import Upload


@dataclass(frozen=True)
class _Drawn:
    """What was drawn for a request, before it is shown."""

    images: np.ndarray  # (K, S, S)
    made: Any
    seeds: list[int]
    metadata: list[dict[str, Any]]


class PageWorkshop:
    """Does the web page's work with one model, one request after the other.

    Args:
        arguments: of `add_sampling_arguments`; what the page sends goes over them.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        defaults = {"region": None, "strength": 1.0, "init_noise": "random", "force": False, "batch_size": 16}
        self.arguments = argparse.Namespace(**{**vars(arguments), **defaults})
        self._maker = CounterfactualMaker(self.arguments)
        self._judges = self._maker.judges()
        self._inner = self._maker.generator.sampler.sampler
        self._examples: dict[int, bytes] = {}
        self._busy = threading.Lock()

    def page_facts(self) -> dict[str, Any]:
        """What the page says of the model, and the form's defaults."""
        metadata = json.loads((bundle_folder(self.arguments) / "configs" / "metadata.json").read_text(encoding="utf-8"))
        facts = self._maker.provenance()
        return {
            "size": self._maker.size,
            "model": facts["model"],
            "software": facts["Software"],
            "data_source": metadata["data_source"],
            "examples": [caption for caption, _, _ in EXAMPLES],
            "defaults": {
                "seed": self.arguments.seed,
                "steps": facts["steps"],
                "samples": 1,
                "text_guidance_scale": facts["text_guidance_scale"],
                "image_guidance_scale": facts["image_guidance_scale"],
            },
        }

    def example(self, number: int) -> bytes | None:
        """A rendered patient as PNG, or None beyond the last."""
        if not 0 <= number < len(EXAMPLES):
            return None
        with self._busy:
            if number not in self._examples:
                self._examples[number] = render_example(number)
            return self._examples[number]

    def inspect(self, data: bytes) -> dict[str, Any]:
        """Look at an upload: its picture, what the judge sees in it, warnings, and why it would be refused."""
        from biomedjourney_monai.clinic.web.pictures import preview_uri
        from biomedjourney_monai.clinic.web.uploads import read_upload
        from biomedjourney_monai.errors import ImageError
        from biomedjourney_monai.generation.prior_check import check_prior

        upload = read_upload(data, size=self._maker.size, with_preview=True)
        refusal = None
        try:
            check_prior(upload.image, is_marked=upload.is_marked)
        except ImageError as error:
            refusal = {"code": error.reason, "message": str(error)}
        height, width = upload.original_hw
        return {
            "preview": preview_uri(upload.preview),
            "height": height,
            "width": width,
            "kind": "DICOM" if upload.source else "PNG" if data.startswith(b"\x89PNG") else "JPEG",
            "refusal": refusal,
            "warnings": prior_warnings(upload),
        }

    def make(
        self, request: PageRequest, data: bytes, *, tell: Callable[..., None], is_cancelled: Callable[[], bool]
    ) -> dict[str, Any]:
        """Make what is asked for; see `clinic.web_server.Workshop`."""
        from biomedjourney_monai.clinic.web.uploads import read_upload
        from biomedjourney_monai.generation.prior_check import check_prior

        maker = self._maker_for(request, tell, is_cancelled)
        upload = read_upload(data, size=maker.size)
        check_amount(request.samples, upload.original_hw)
        overruled = check_prior(upload.image, is_marked=upload.is_marked, force=request.force)
        prior = Prior(upload.image, upload.original_hw, overruled)
        check = self._check_description(maker, request)
        region = region_of(request, prior, maker.size)
        drawn = self._draw(maker, prior, request, region, check.overruled)
        tell(state="judging")
        return self._answer(maker, prior, upload, request, drawn, [*prior_warnings(upload), *check.warnings])

    def _maker_for(
        self, request: PageRequest, tell: Callable[..., None], is_cancelled: Callable[[], bool]
    ) -> CounterfactualMaker:
        """The maker under the request's settings, on the one model, telling of each step."""
        from biomedjourney_monai.clinic.web.request import EVERYWHERE
        from biomedjourney_monai.clinic.web.server import Cancelled
        from biomedjourney_monai.diffusion.controls import ControlledSampler

        names = ("seed", "steps", "text_guidance_scale", "image_guidance_scale", "force")
        settings = {name: getattr(request, name) for name in names}
        settings["region"] = None if request.region == EVERYWHERE else request.region  # as the metadata name it
        maker = CounterfactualMaker(argparse.Namespace(**{**vars(self.arguments), **settings}))
        batches = -(-request.samples // self.arguments.batch_size)
        done = 0

        def on_step(_index: int) -> None:
            nonlocal done
            if is_cancelled():
                raise Cancelled
            done += 1
            tell(state="sampling", done=done, steps=batches * request.steps)

        sampler = copy.copy(self._inner)
        sampler.steps, sampler.seed, sampler.on_step = request.steps, request.seed, on_step
        sampler.text_guidance_scale = request.text_guidance_scale
        sampler.image_guidance_scale = request.image_guidance_scale
        if is_cancelled():
            raise Cancelled
        generator = self._maker.generator
        generator.sampler = ControlledSampler(sampler)
        maker.share_generator(generator)
        return maker

    def _check_description(self, maker: CounterfactualMaker, request: PageRequest) -> Any:
        from biomedjourney_monai.generation.description_check import check_description
        from biomedjourney_monai.preparation.reports.statements import read_statements

        encoder = maker.generator.text_encoder
        return check_description(request.description, encoder, name_findings=read_statements, force=request.force)

    def _draw(
        self, maker: CounterfactualMaker, prior: Prior, request: PageRequest, region: Any, overruled: str
    ) -> _Drawn:
        seeds = [request.seed + offset for offset in range(request.samples)]
        images, made = draw_samples(maker, prior, request.description, seeds, region, quiet=True)
        metadata = [maker.metadata(prior, request.description, seed, overruled) for seed in seeds]
        if region is not None:
            metadata = [{**facts, "region": region_name(region)} for facts in metadata]
        return _Drawn(images, made, seeds, metadata)

    def _answer(
        self,
        maker: CounterfactualMaker,
        prior: Prior,
        upload: Upload,
        request: PageRequest,
        drawn: _Drawn,
        warnings: list[str],
    ) -> dict[str, Any]:
        from biomedjourney_monai.cli.app_files import make_files
        from biomedjourney_monai.clinic.web import pictures

        findings = self._findings(prior, drawn.images, request.description)
        heat = self._heat_maps(prior, drawn.images[0], findings)
        hw = prior.original_hw
        shown = {
            "prior": pictures.show_prior(prior.image, hw),
            "counterfactual": pictures.show_counterfactual(drawn.images[0], hw),
            "difference": pictures.show_difference(drawn.images[0], prior.image, hw),
        }
        heat = {name: pictures.show_heat(values, drawn.images[0], hw) for name, values in heat.items()}
        spread, highest = None, 0.0
        if len(drawn.images) > 1:
            from biomedjourney_monai.generation.uncertainty import spread_of

            found = spread_of(drawn.images)
            highest = float(found.deviation.max())
            spread = pictures.show_spread(found.mean, found.deviation, hw, highest=highest)
        warnings = [*warnings, *unmet(request.description, findings)]
        answer = {
            "shown": shown,
            "heat": heat,
            "spread": spread,
            "highest_deviation": round(highest, 3),
            "samples": pictures.show_samples(drawn.images, hw) if len(drawn.images) > 1 else [],
            "seeds": drawn.seeds,
            "findings": findings,
            "warnings": warnings,
            "overruled": drawn.metadata[0].get("overruled", ""),
            "facts": {name: str(value) for name, value in drawn.metadata[0].items()},
            "size": {"height": hw[0], "width": hw[1], "made_at": maker.size},
        }
        files = make_files(prior, upload, drawn, answer, judges=self._judges.provenance())
        return {**answer, "files": {name: pictures.as_base64(content) for name, content in files.items()}}

    def _findings(self, prior: Prior, images: np.ndarray, description: str) -> list[dict[str, Any]]:
        """What the judge says of each finding before and after; after is the mean over the samples."""
        import numpy as np
        import torch

        from biomedjourney_monai.preparation.reports.statements import read_statements

        every = np.concatenate([prior.image[None], images])[:, None]
        scores = self._judges.score(torch.from_numpy(every)).pathology.numpy()
        after, said = scores[1:], read_statements(description)
        return [
            {
                "finding": finding,
                "asked": finding in said,
                "before": round(float(scores[0, n]), 4),
                "after": round(float(after[:, n].mean()), 4),
                "lowest": round(float(after[:, n].min()), 4),
                "highest": round(float(after[:, n].max()), 4),
            }
            for n, finding in enumerate(FINDINGS)
        ]

    def _heat_maps(self, prior: Prior, image: np.ndarray, findings: list[dict[str, Any]]) -> dict[str, np.ndarray]:
        """For each finding that was asked for, or else the one that changed most: where the judge sees it."""
        import torch

        from biomedjourney_monai.evaluation.judges.heat_map import change_map

        named = [row["finding"] for row in findings if row["asked"]]
        most = max(findings, key=lambda row: abs(row["after"] - row["before"]))["finding"]
        chosen = named or [most]
        before, after = (torch.from_numpy(picture)[None, None] for picture in (prior.image, image))
        columns = [FINDINGS.index(finding) for finding in chosen]
        maps = change_map(self._judges.finding_logits, before, after, columns=columns)
        return dict(zip(chosen, maps.numpy()))
