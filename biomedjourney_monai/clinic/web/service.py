"""The work behind the web page: inspect an upload, generate, judge, and prepare the files to download.

The pictures are those of `biomedjourney sample` for the same prior, description, settings and seed, byte for byte.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from biomedjourney_monai.clinic.web import pictures
from biomedjourney_monai.clinic.web.checks import check_amount, prior_warnings, region_of, unmet
from biomedjourney_monai.clinic.web.examples import EXAMPLES, render_example
from biomedjourney_monai.clinic.web.files import make_files
from biomedjourney_monai.clinic.web.request import PageRequest
from biomedjourney_monai.clinic.web.server import Cancelled
from biomedjourney_monai.clinic.web.uploads import Upload, read_upload
from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.evaluation.judges.heat_map import change_map
from biomedjourney_monai.evaluation.judges.loading import load_judges
from biomedjourney_monai.generation.model import BATCH_SIZE, CounterfactualModel
from biomedjourney_monai.generation.prior import Prior
from biomedjourney_monai.generation.prior_check import check_prior
from biomedjourney_monai.generation.request import Request
from biomedjourney_monai.generation.result import Result
from biomedjourney_monai.preparation.reports.statements import read_statements
from biomedjourney_monai.radiographs.write.dicom import from_plain_bytes
from biomedjourney_monai.schema import FINDINGS


class WebService:
    """Does the web page's work with one model.

    Args:
        model: the model; the settings of a request override its settings.
        seed: the form's default.
    """

    def __init__(self, model: CounterfactualModel, *, seed: int = 0) -> None:
        self.model, self.seed = model, seed
        self._judges = load_judges(model.config.models)
        _ = model.generator  # loaded before the page is served
        self._examples: dict[int, bytes] = {}
        self._busy = threading.Lock()

    def page_facts(self) -> dict[str, Any]:
        """What the page says of the model, and the form's defaults."""
        metadata = json.loads((self.model.config.bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
        facts = self.model.provenance()
        names = ("steps", "text_guidance_scale", "image_guidance_scale")
        return {
            "size": self.model.size,
            "model": facts["model"],
            "software": facts["Software"],
            "data_source": metadata["data_source"],
            "examples": [caption for caption, _, _ in EXAMPLES],
            "defaults": {"seed": self.seed, "samples": 1, **{name: facts[name] for name in names}},
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
        """Read an upload: its picture, size and kind, warnings, and the refusal of the view check."""
        upload = read_upload(data, size=self.model.size, with_preview=True)
        refusal = None
        try:
            check_prior(upload.image, is_marked=upload.is_marked)
        except ImageError as error:
            refusal = {"code": error.reason, "message": str(error)}
        height, width = upload.original_hw
        assert upload.preview is not None
        return {
            "preview": pictures.preview_uri(upload.preview),
            "height": height,
            "width": width,
            "kind": "DICOM" if upload.source else "PNG" if data.startswith(b"\x89PNG") else "JPEG",
            "refusal": refusal,
            "warnings": prior_warnings(upload),
        }

    def make(
        self, request: PageRequest, data: bytes, *, tell: Callable[..., None], is_cancelled: Callable[[], bool]
    ) -> dict[str, Any]:
        """Make what is asked for; see `server.Workshop`."""
        if is_cancelled():
            raise Cancelled
        names = ("steps", "text_guidance_scale", "image_guidance_scale")
        settings = {name: getattr(request, name) for name in names}
        model = self.model.with_settings(dataclasses.replace(self.model.settings, **settings))
        upload = read_upload(data, size=model.size)
        check_amount(request.samples, upload.original_hw)
        checked = model.check(
            Request(
                _prior_of(upload),
                request.description,
                seed=request.seed,
                samples=request.samples,
                region=region_of(request, upload.original_hw),
                force=request.force,
            )
        )
        steps, done = -(-request.samples // BATCH_SIZE) * request.steps, 0

        def on_step(_index: int) -> None:
            nonlocal done
            if is_cancelled():
                raise Cancelled
            done += 1
            tell(state="sampling", done=done, steps=steps)

        result = model.run(checked, on_step=on_step)
        tell(state="judging")
        return self._answer(result, request.description, [*prior_warnings(upload), *checked.warnings])

    def _answer(self, result: Result, description: str, warnings: list[str]) -> dict[str, Any]:
        prior, squares = result.prior.image, result.squares
        findings = self._findings(prior, squares, description)
        heat = self._heat_maps(prior, squares[0], findings)
        hw, several = result.prior.original_hw, len(squares) > 1
        shown = {
            "prior": pictures.show_prior(prior, hw),
            "counterfactual": pictures.show_counterfactual(squares[0], hw),
            "difference": pictures.show_difference(squares[0], prior, hw),
        }
        spread, highest = None, 0.0
        if several:
            found = result.spread
            highest = float(found.deviation.max())
            spread = pictures.show_spread(found.mean, found.deviation, hw, highest=highest)
        answer = {
            "shown": shown,
            "heat": {name: pictures.show_heat(values, squares[0], hw) for name, values in heat.items()},
            "spread": spread,
            "highest_deviation": round(highest, 3),
            "samples": pictures.show_samples(list(squares), hw) if several else [],
            "seeds": list(result.seeds),
            "findings": findings,
            "warnings": [*warnings, *unmet(description, findings)],
            "overruled": result.documents[0].get("overruled", ""),
            "facts": {name: str(value) for name, value in result.documents[0].items()},
            "size": {"height": hw[0], "width": hw[1], "made_at": self.model.size},
        }
        files = make_files(result, answer, judges=self._judges.provenance())
        return {**answer, "files": {name: pictures.as_base64(content) for name, content in files.items()}}

    def _findings(self, prior: np.ndarray, squares: np.ndarray, description: str) -> list[dict[str, Any]]:
        """The judge's probability of each finding before and after; after is the mean over the samples."""
        every = np.concatenate([prior[None], squares])[:, None]
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

    def _heat_maps(
        self, prior: np.ndarray, square: np.ndarray, findings: list[dict[str, Any]]
    ) -> dict[str, np.ndarray]:
        """Where the judge sees each finding that was asked for, or else the one that changed most."""
        named = [row["finding"] for row in findings if row["asked"]]
        most = max(findings, key=lambda row: abs(row["after"] - row["before"]))["finding"]
        chosen = named or [most]
        before, after = (torch.from_numpy(picture)[None, None] for picture in (prior, square))
        columns = [FINDINGS.index(finding) for finding in chosen]
        maps = change_map(self._judges.finding_logits, before, after, columns=columns)
        return dict(zip(chosen, maps.numpy(), strict=True))


def _prior_of(upload: Upload) -> Prior:
    source = from_plain_bytes(upload.source) if upload.source else None
    return Prior(upload.image, upload.original_hw, is_marked=upload.is_marked, source=source)
