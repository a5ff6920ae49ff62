"""The work behind the web page: inspect an upload, generate, judge, and prepare the files to download.

The pictures are those of `biomedjourney sample` for the same prior, description, settings and seed, byte for byte.
Those shown are prior, counterfactual, difference, the judge's heat map and the samples' spread. All have one shape and,
except for the prior, the synthetic mark. Prior and counterfactual are shown with the film's own pixels, up to
`FILM_SIDE`, for zooming; maps are shown smaller.
"""

import base64
import dataclasses
import functools
import io
import json
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypedDict

import cv2
import numpy as np
import torch

from biomedjourney_monai.clinic.web.page import render_report
from biomedjourney_monai.clinic.web.request import PageRequest, read_upload
from biomedjourney_monai.clinic.web.server import Cancelled
from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.evaluation.judges.domain import KnowsDomain
from biomedjourney_monai.evaluation.judges.drawn import JudgeReview
from biomedjourney_monai.evaluation.judges.heat_map import change_map
from biomedjourney_monai.evaluation.judges.trusted import shown_pathology
from biomedjourney_monai.generation.finish import full_size, full_size_difference, full_size_prior
from biomedjourney_monai.generation.model import BATCH_SIZE, CounterfactualModel
from biomedjourney_monai.generation.prior import Prior
from biomedjourney_monai.generation.prior_check import check_prior
from biomedjourney_monai.generation.request import Request
from biomedjourney_monai.generation.result import Result
from biomedjourney_monai.generation.sample_files import map_files
from biomedjourney_monai.generation.writer import PictureWriter
from biomedjourney_monai.phantom import FindingState, draw_patient, render_counterfactual
from biomedjourney_monai.preparation.descriptions.request import read_request
from biomedjourney_monai.radiographs import mark_synthetic, restore
from biomedjourney_monai.radiographs.pictures.html import colour_difference, colour_signed, picture_uri
from biomedjourney_monai.radiographs.pictures.maps import colour_map
from biomedjourney_monai.radiographs.read.dicom_header import is_dicom
from biomedjourney_monai.radiographs.scaling import resize
from biomedjourney_monai.radiographs.write.dicom import to_bytes
from biomedjourney_monai.radiographs.write.dicom_source import from_plain_bytes
from biomedjourney_monai.radiographs.write.png import png_bytes
from biomedjourney_monai.schema import FINDINGS

SHOWN_SIDE = 768
"""Longer side of a shown picture, in pixels."""

FILM_SIDE = 3072
"""Longest side of prior and counterfactual, which can be zoomed; a smaller film is shown at its own size."""

SAMPLE_SIDE = 256
FULL_HEAT_PERCENTILE = 99.5
HEAT_SIGMA = 5.0
"""Smoothing of the heat map, in pixels of the model's image: single pixels are not meaningful."""


def shown_hw(original_hw: tuple[int, int], side: int = SHOWN_SIDE) -> tuple[int, int]:
    """Height and width of a shown picture, with the original's aspect ratio."""
    height, width = original_hw
    longer = max(height, width)
    return max(96, round(height * side / longer)), max(96, round(width * side / longer))


def film_hw(original_hw: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of a shown film: its own, within `SHOWN_SIDE` and `FILM_SIDE`."""
    height, width = original_hw
    return shown_hw((height, width), min(max(height, width, SHOWN_SIDE), FILM_SIDE))


_picture_uri = functools.partial(picture_uri, optimize=False)  # the user is waiting


class ShownPictures:
    """The pictures of one result, as data URIs; the film is enlarged once."""

    def __init__(self, result: Result) -> None:
        self.result = result
        self.hw = shown_hw(result.prior.original_hw)

    @cached_property
    def _film(self) -> np.ndarray:
        return full_size_prior(self.result.prior, detail=self.result.detail)

    @cached_property
    def _made(self) -> np.ndarray:
        return self._full(0)

    def _full(self, number: int) -> np.ndarray:
        return full_size(self.result.squares[number], self.result.prior, detail=self.result.detail)

    def prior(self) -> str:
        """The prior, with the film's own pixels."""
        return _picture_uri(mark_synthetic(resize(self._film, *film_hw(self._film.shape)), text="PRIOR"))

    def counterfactual(self) -> str:
        """The first sample, with the film's own pixels where nothing changed."""
        return _picture_uri(mark_synthetic(resize(self._made, *film_hw(self._made.shape))))

    def samples(self) -> list[str]:
        """Every sample, small."""
        hw = shown_hw(self.result.prior.original_hw, SAMPLE_SIDE)
        count = len(self.result.squares)
        return [_picture_uri(mark_synthetic(resize(self._full(number), *hw))) for number in range(count)]

    def difference(self) -> str:
        """What became denser in the first sample, red, and less dense, blue, over the dimmed prior."""
        square, prior = self.result.squares[0], self.result.prior
        change = resize(full_size_difference(square, prior, detail=self.result.detail), *self.hw)
        ground = resize(self._film, *self.hw)
        return _picture_uri(mark_synthetic(colour_difference(ground + change, ground)))

    def heat(self, values: np.ndarray) -> str:
        """Where the judge's score rises, red, and falls, blue, over the dimmed counterfactual.

        `values` are the attributions of each pixel, shape (S, S), shown relative to the largest.
        """
        smooth = cv2.GaussianBlur(np.asarray(values, np.float32), (0, 0), HEAT_SIGMA)
        full = float(np.percentile(np.abs(smooth), FULL_HEAT_PERCENTILE))
        side = len(self.result.prior.image)
        shown = restore(cv2.resize(smooth, (side, side)) / max(full, 1e-12), self.hw)
        return _picture_uri(mark_synthetic(colour_signed(shown, resize(self._made, *self.hw), full=1.0)))

    def spread(self, *, highest: float) -> str:
        """The samples' standard deviation, from black over red to white, over their mean."""
        mean = resize(self.result.mean, *self.hw)
        picture = colour_map(mean, restore(self.result.spread.deviation, self.hw), highest=highest)
        return _picture_uri(picture / np.float32(255))


PICTURE, DICOM, REPORT, ARCHIVE = "counterfactual.png", "counterfactual.dcm", "report.html", "all.zip"
NO_CLOCK = (1980, 1, 1, 0, 0, 0)
"""The time of the archive's entries: the same request gives the same bytes."""


def make_files(result: Result, answer: Mapping[str, Any], *, judges: Mapping[str, Any] | None) -> dict[str, bytes]:
    """The files of one request by name; `answer` is what the page shows, `judges` their provenance, None for none."""
    every: dict[str, bytes] = {}
    writer = PictureWriter(result.prior)
    for number, (picture, facts) in enumerate(zip(result.images, result.documents, strict=True), start=1):
        every[_numbered(PICTURE, number)] = png_bytes(picture, metadata=facts)
        dataset = writer.dataset(picture, facts, number=number, series_facts=result.series_facts)
        every[_numbered(DICOM, number)] = to_bytes(dataset)
    every[REPORT] = render_report({**answer, "judges": judges})
    every |= {f"{word}.png": content for word, content in map_files(result).items()}
    asked = {**result.documents[0], "judges": judges, **{name: answer[name] for name in ("findings", "warnings")}}
    every["request.json"] = json.dumps(asked, indent=2, sort_keys=True).encode()
    chosen = {name: every[name] for name in (PICTURE, DICOM, REPORT)}
    return {**chosen, ARCHIVE: _archive(every)}


def _numbered(name: str, number: int) -> str:
    stem, suffix = name.split(".")
    return name if number == 1 else f"{stem}-{number:02d}.{suffix}"


def _archive(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, NO_CLOCK)
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return stream.getvalue()


SETTINGS = ("steps", "text_guidance_scale", "image_guidance_scale")
EXAMPLES = (
    ("No finding", 0, FindingState()),
    ("Moderate left effusion", 4, FindingState(effusion_left=2)),
    ("Severe cardiomegaly", 2, FindingState(cardiomegaly=3)),
)
"""Rendered patients to try the page on: caption, number of the patient, findings."""


class FindingRow(TypedDict):
    """The judge's probability of a finding before and after; after is the mean over the samples."""

    finding: str
    asked: bool
    before: float
    after: float
    lowest: float
    highest: float


class WebService:
    """Does the web page's work with one model.

    Args:
        model: the model; the settings of a request override its settings.
        seed: the form's default.
    """

    def __init__(self, model: CounterfactualModel, *, seed: int = 0) -> None:
        self.model, self.seed = model, seed
        self.review = model.reviewer = JudgeReview(model.config.models)
        _ = model.generator  # loaded before the page is served
        self._examples: dict[int, bytes] = {}
        self._busy = threading.Lock()

    def page_facts(self) -> dict[str, Any]:
        """Facts about the model, and the form's defaults."""
        metadata = json.loads((self.model.config.bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
        facts = self.model.provenance()
        return {
            "size": self.model.size,
            "model": facts["model"],
            "software": facts["Software"],
            "data_source": metadata["data_source"],
            "examples": [caption for caption, _, _ in EXAMPLES],
            "defaults": {"seed": self.seed, "samples": 1, **{name: facts[name] for name in SETTINGS}},
        }

    def example(self, number: int) -> bytes | None:
        """A rendered patient as PNG, or None beyond the last."""
        if not 0 <= number < len(EXAMPLES):
            return None
        with self._busy:
            if number not in self._examples:
                self._examples[number] = _render_example(*EXAMPLES[number])
            return self._examples[number]

    def inspect(self, data: bytes) -> dict[str, Any]:
        """Read an upload: its picture, size and kind, warnings, and the refusal of the view check."""
        upload = read_upload(data, size=self.model.size, with_preview=True)
        refusal = None
        try:
            check_prior(upload.image, is_marked=upload.is_marked, other_body_part=upload.other_body_part)
        except ImageError as error:
            refusal = {"code": error.reason, "message": str(error)}
        height, width = upload.original_hw
        assert upload.preview is not None
        return {
            "preview": picture_uri(upload.preview / np.float32(255), optimize=False),
            "height": height,
            "width": width,
            "kind": "DICOM" if is_dicom(data) else "PNG" if data.startswith(b"\x89PNG") else "JPEG",
            "refusal": refusal,
            "warnings": [*upload.warnings(), *self.model.view_warnings(upload.view_position)],
        }

    def make(
        self, request: PageRequest, data: bytes, *, tell: Callable[..., None], is_cancelled: Callable[[], bool]
    ) -> dict[str, Any]:
        """Make counterfactuals; see `server.PageService`."""
        if is_cancelled():
            raise Cancelled
        settings = {name: getattr(request, name) for name in SETTINGS}
        model = self.model.with_settings(dataclasses.replace(self.model.settings, **settings))
        upload = read_upload(data, size=model.size)
        request.check_amount(upload.original_hw)
        source = from_plain_bytes(upload.source) if upload.source else None
        prior = Prior(
            upload.image,
            upload.original_hw,
            is_marked=upload.is_marked,
            other_body_part=upload.other_body_part,
            view_position=upload.view_position,
            source=source,
            pixels=upload.film,
        )
        checked = model.check(
            Request(
                prior,
                request.description,
                seed=request.seed,
                samples=request.samples,
                region=request.region_in(upload.original_hw),
                force=request.force,
                verbatim=request.verbatim or None,
            )
        )
        steps, done = -(-request.samples // BATCH_SIZE) * request.steps, 0

        def on_step(_index: int) -> None:
            nonlocal done
            if is_cancelled():
                raise Cancelled
            done = min(done + 1, steps)
            tell(state="sampling", done=done, steps=steps)

        result = model.run(checked, on_step=on_step)
        tell(state="judging")
        answer = {"warnings": [*upload.warnings(), *result.warnings], "understood": checked.understood}
        return self._answer(result, request.description, answer)

    def _answer(self, result: Result, description: str, said: dict[str, Any]) -> dict[str, Any]:
        prior, squares = result.prior.image, result.squares
        judges = self.review.judges_for(prior)
        findings = [] if judges is None else find_findings(judges, prior, squares, description)
        heat = {} if judges is None else draw_heat_maps(judges, prior, squares[0], findings)
        shown = ShownPictures(result)
        hw, several = result.prior.original_hw, len(squares) > 1
        spread, highest = None, 0.0
        if several:
            highest = float(result.spread.deviation.max())
            spread = shown.spread(highest=highest)
        answer = {
            "shown": {
                "prior": shown.prior(),
                "counterfactual": shown.counterfactual(),
                "difference": shown.difference(),
            },
            "heat": {name: shown.heat(values) for name, values in heat.items()},
            "spread": spread,
            "highest_deviation": round(highest, 3),
            "samples": shown.samples() if several else [],
            "seeds": list(result.seeds),
            "judge": None if judges is None else judges.name,
            "unjudged": [] if judges is None else [name for name in FINDINGS if name not in judges.trusted],
            "findings": findings,
            **said,
            "overruled": result.documents[0].get("overruled", ""),
            "facts": {name: str(value) for name, value in result.documents[0].items()},
            "size": {"height": hw[0], "width": hw[1], "made_at": self.model.size},
        }
        files = make_files(result, answer, judges=None if judges is None else judges.provenance())
        return {**answer, "files": {name: base64.b64encode(content).decode() for name, content in files.items()}}


def find_findings(judges: KnowsDomain, prior: np.ndarray, squares: np.ndarray, description: str) -> list[FindingRow]:
    """What the judge sees in a prior, shape (S, S), and in samples, shape (K, S, S), of findings that it knows."""
    every = np.concatenate([prior[None], squares])[:, None]
    scores = shown_pathology(judges, torch.from_numpy(every))
    after, asked = scores[1:], {change.label for change in read_request(description).changes}
    return [
        {
            "finding": finding,
            "asked": finding in asked,
            "before": round(float(scores[0, n]), 4),
            "after": round(float(after[:, n].mean()), 4),
            "lowest": round(float(after[:, n].min()), 4),
            "highest": round(float(after[:, n].max()), 4),
        }
        for n, finding in enumerate(FINDINGS)
        if finding in judges.trusted
    ]


def draw_heat_maps(
    judges: KnowsDomain, prior: np.ndarray, square: np.ndarray, findings: Sequence[FindingRow]
) -> dict[str, np.ndarray]:
    """Where the judge sees each finding that the description names, or otherwise the one that changed most.

    Nothing for judges without `finding_logits`, or without a finding that they know.
    """
    logits = getattr(judges, "finding_logits", None)
    if logits is None or not findings:
        return {}
    most = max(findings, key=lambda row: abs(row["after"] - row["before"]))["finding"]
    chosen = [row["finding"] for row in findings if row["asked"]] or [most]
    before, after = (torch.from_numpy(picture)[None, None] for picture in (prior, square))
    maps = change_map(logits, before, after, columns=[FINDINGS.index(finding) for finding in chosen])
    return dict(zip(chosen, maps.numpy(), strict=True))


def _render_example(caption: str, number: int, state: FindingState) -> bytes:
    patient = draw_patient(7, number, stream="web page")
    rendering = render_counterfactual(patient, patient.visits[0], state, size=1024, view_position="PA")
    return png_bytes(rendering.image, metadata={"Comment": f"rendered patient, nobody's: {caption}"})
