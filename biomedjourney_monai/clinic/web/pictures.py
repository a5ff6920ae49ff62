"""The pictures that the web page shows: prior, counterfactual, difference, the judge's heat map, the samples' spread.

All have one shape and, except for the prior, the synthetic mark. Prior and counterfactual are shown with the film's own
pixels, up to `FILM_SIDE`, for zooming; maps are shown smaller.
"""

import functools
import io
import json
import zipfile
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from biomedjourney_monai.clinic.web.page import render_report
from biomedjourney_monai.generation.finish import full_size, full_size_difference, full_size_prior
from biomedjourney_monai.generation.result import Result
from biomedjourney_monai.generation.sample_files import map_files
from biomedjourney_monai.generation.writer import PictureWriter
from biomedjourney_monai.radiographs import mark_synthetic, restore
from biomedjourney_monai.radiographs.pictures.html import colour_difference, colour_signed, picture_uri
from biomedjourney_monai.radiographs.pictures.maps import colour_map
from biomedjourney_monai.radiographs.scaling import resize
from biomedjourney_monai.radiographs.write.dicom import to_bytes
from biomedjourney_monai.radiographs.write.png import png_bytes

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
