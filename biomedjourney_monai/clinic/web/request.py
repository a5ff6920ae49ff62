"""What the page sends: a request in one line of JSON, then a prior's bytes. Neither is trusted before it is read.

The bytes are read in a child process with limits, and never from disk: they stay in memory, and the browser does not
send the file's name. Files that are too large or not JPEG, PNG or DICOM are refused by their length and first bytes.
All others are decoded by a child process (`upload_reader`) with limits on time and memory.
"""

import io
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from biomedjourney_monai.clinic.web import upload_reader
from biomedjourney_monai.errors import BiomedJourneyError, ImageError
from biomedjourney_monai.radiographs.film import Film
from biomedjourney_monai.radiographs.read import dicom_header, photographs

MAX_BYTES = 64 * 1024**2
"""A chest radiograph as uncompressed DICOM has up to 35 MB."""

READ_SECONDS = 40.0
"""Limit for the child process to start and decode; a large detector's JPEG 2000 takes a few seconds."""

IN_MEMORY = hasattr(os, "memfd_create")


class LimitError(BiomedJourneyError):
    """A request that is too large, or takes too long."""


@dataclass(frozen=True)
class Upload:
    """An upload that has been read.

    Attributes:
        image: the model's square, float32 in [0, 1], shape (S, S).
        original_hw: height and width in the file.
        preview: the whole image for display, uint8, shape (H, W), the longer side at most `PREVIEW_SIDE`, or None.
        source: the attributes that a counterfactual copies from a DICOM file, as DICOM bytes; empty for other formats.
        has_burned_in_text: whether a DICOM file declares it.
        is_synthetic: whether a DICOM file declares it.
        is_marked: whether the file's metadata say that this package generated it (`carries_mark`).
        other_body_part: the part of the body that a DICOM file names; "" for the chest.
        view_position: the view that a DICOM file names, such as "PA" or "AP"; "" if unknown.
        film: the pixels at their own size; None with a preview.
    """

    image: np.ndarray = field(repr=False)
    original_hw: tuple[int, int]
    preview: np.ndarray | None = field(default=None, repr=False)
    source: bytes = field(default=b"", repr=False)
    has_burned_in_text: bool = False
    is_synthetic: bool = False
    is_marked: bool = False
    other_body_part: str = ""
    view_position: str = ""
    film: Film | None = field(default=None, repr=False)

    def warnings(self) -> list[str]:
        """Warnings for an accepted prior."""
        warnings = []
        if self.is_synthetic or self.is_marked:
            warnings.append("This prior is marked as synthetic: its counterfactual is twice removed from a patient.")
        if self.has_burned_in_text:
            warnings.append("This prior is marked as having burned-in text: the counterfactual may show it.")
        if min(self.original_hw) < 128:
            warnings.append("This prior is very small: it shows little of a chest.")
        return warnings


def _check_kind(data: bytes, *, max_bytes: int) -> None:
    """Refuse files that are too large, or by their first bytes neither JPEG, PNG nor DICOM."""
    if len(data) > max_bytes:
        raise too_large(len(data), max_bytes=max_bytes)
    if not data:
        raise ImageError("an image file must not be empty", found="0 bytes", reason="image file empty")
    if not (photographs.is_photograph(data) or dicom_header.is_dicom(data)):
        dicom_header.refuse_without_preamble(data)
        raise ImageError(
            "an upload must be a JPEG, PNG or DICOM image",
            found="none of these in its first bytes",
            action="Export the radiograph as one of these",
            reason="unknown image format",
        )


def too_large(count: int, *, max_bytes: int = MAX_BYTES) -> LimitError:
    """The error for an upload with `count` bytes, sent or announced."""
    found = f"{count / 1024**2:,.0f} MB or more"
    return LimitError(f"an upload must have at most {max_bytes // 1024**2} MB", found=found)


def read_upload(
    data: bytes, *, size: int, with_preview: bool = False, seconds: float = READ_SECONDS, max_bytes: int = MAX_BYTES
) -> Upload:
    """Decode an upload in a child process.

    Args:
        size: side of the model's square, in pixels.
        with_preview: also make the picture for display.
        seconds: time limit of the child process.

    Raises:
        LimitError: if the upload is too large, or takes too long.
        ImageError: as `radiographs.load_radiograph`, and if the decoder crashes.
    """
    _check_kind(data, max_bytes=max_bytes)
    with _as_nameless_file(data) as stream:
        try:
            child = subprocess.run(
                [sys.executable, "-m", upload_reader.__name__, str(size), *(["preview"] if with_preview else [])],
                stdin=stream,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # decoders may quote the file in their messages
                timeout=seconds,
                env={**os.environ, **upload_reader.ENVIRONMENT},
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LimitError(f"an image must be readable within {seconds:g} seconds", found="a slower one") from error
    return _take(child.returncode, child.stdout)


def _take(status: int, answer: bytes) -> Upload:
    """Read the child's answer, which is not trusted either."""
    if status == upload_reader.REFUSED:
        refusal = json.loads(answer)
        error = ImageError("refused", reason=str(refusal["reason"]))
        error.args = (str(refusal["message"]),)
        raise error
    if status != 0:
        raise ImageError(
            "an image must be readable in bounded time and memory",
            found="a file that needs more, or that breaks its decoder",
            action="Export it again, for example as PNG",
            reason="image damaged",
        )
    with np.load(io.BytesIO(answer), allow_pickle=False) as parts:
        preview = parts.get("preview")
        height, width, burned_in, synthetic, marked = (int(value) for value in parts["facts"])
        source = parts["source"].tobytes()
        body_part, view = (parts[name].tobytes().decode("utf-8", "replace")[:16] for name in ("body_part", "view"))
        return Upload(
            parts["image"],
            (height, width),
            preview,
            source,
            has_burned_in_text=bool(burned_in),
            is_synthetic=bool(synthetic),
            is_marked=bool(marked),
            other_body_part=body_part,
            view_position=view,
            film=Film.from_arrays(parts) if "film_stored" in parts else None,
        )


@contextmanager
def _as_nameless_file(data: bytes) -> Iterator[IO[bytes]]:
    """A file without a name: in memory on Linux, elsewhere one that is unlinked as soon as it is open."""
    with os.fdopen(os.memfd_create("upload"), "w+b") if IN_MEMORY else tempfile.TemporaryFile() as stream:
        stream.write(data)
        stream.flush()
        stream.seek(0)
        yield stream


MAX_STEPS, MAX_SAMPLES, MAX_SCALE = 100, 16, 20.0
MAX_DESCRIPTION = 1000
"""Characters; the text encoder's limit is lower, and it warns."""

MAX_PIXELS = 64_000_000
"""Of all samples of a request together, at the prior's size: they are held in memory and sent back."""

MAX_SETTINGS_BYTES = 16384
EVERYWHERE, AUTO, BOX = "everywhere", "auto", "box"
Box = tuple[float, float, float, float]


class RequestError(BiomedJourneyError):
    """A request that the page's own form does not send."""


@dataclass(frozen=True)
class PageRequest:
    """One request for counterfactuals.

    Attributes:
        description: how the disease progresses.
        seed: of the first sample's noise.
        steps: denoising steps.
        samples: number of samples, with consecutive seeds from `seed` on.
        text_guidance_scale: pull toward the description.
        image_guidance_scale: pull toward the prior image.
        region: "everywhere", "auto" or "box".
        box: left, top, right, bottom as shares of the image's width and height; for "box" only.
        force: overrule refusals of prior and description.
        verbatim: give the text encoder the description as it is.
    """

    description: str = field(repr=False)
    seed: int
    steps: int
    samples: int
    text_guidance_scale: float
    image_guidance_scale: float
    region: str = EVERYWHERE
    box: Box | None = None
    force: bool = False
    verbatim: bool = False

    def check_amount(self, hw: tuple[int, int]) -> None:
        """Raise a LimitError for more pixels than fit into memory, for a prior of height and width `hw`."""
        height, width = hw
        if self.samples * height * width > MAX_PIXELS:
            rule = f"the samples of a request must have at most {MAX_PIXELS:,} pixels together"
            action = f"Ask for {max(1, MAX_PIXELS // (height * width))} at most"
            raise LimitError(rule, found=f"{self.samples} of {width:,} × {height:,}", action=action)

    def region_in(self, hw: tuple[int, int]) -> np.ndarray | str | None:
        """None, "auto", or the box as a mask of the prior's height and width `hw`, float32 (H, W): 1 inside."""
        if self.box is None:
            return AUTO if self.region == AUTO else None
        left, top, right, bottom = self.box
        mask = np.zeros(hw, np.float32)
        mask[round(top * hw[0]) : round(bottom * hw[0]), round(left * hw[1]) : round(right * hw[1])] = 1
        return mask


def parse_request(data: bytes) -> PageRequest:
    """Read a request from JSON.

    Raises:
        RequestError: naming the field, but never the description.
    """
    try:
        content = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RequestError("a request must be JSON", found=type(error).__name__) from error
    if not isinstance(content, dict):
        raise RequestError("a request must be a JSON object", found=type(content).__name__)
    description = content.get("description")
    if not isinstance(description, str) or len(description) > MAX_DESCRIPTION:
        found = f"{len(description)}" if isinstance(description, str) else type(description).__name__
        raise RequestError(f"a description must be a text of at most {MAX_DESCRIPTION} characters", found=found)
    region = content.get("region", EVERYWHERE)
    if region not in (EVERYWHERE, AUTO, BOX):
        raise RequestError(f"region must be {EVERYWHERE}, {AUTO} or {BOX}", found=_shown(region))
    return PageRequest(
        description=" ".join(description.split()),
        seed=_whole(content, "seed", 0, 2**53 - 1),  # the largest exact integer of a browser
        steps=_whole(content, "steps", 1, MAX_STEPS),
        samples=_whole(content, "samples", 1, MAX_SAMPLES),
        text_guidance_scale=_number(content, "text_guidance_scale"),
        image_guidance_scale=_number(content, "image_guidance_scale"),
        region=region,
        box=_box(content) if region == BOX else None,
        force=content.get("force") is True,
        verbatim=content.get("verbatim") is True,
    )


def _whole(content: Mapping[str, Any], name: str, lowest: int, highest: int) -> int:
    value = content.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise RequestError(f"{name} must be a whole number from {lowest} to {highest:,}", found=_shown(value))
    return value


def _number(content: Mapping[str, Any], name: str) -> float:
    value = content.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_SCALE:  # no NaN either
        raise RequestError(f"{name} must be a number from 0 to {MAX_SCALE:g}", found=_shown(value))
    return float(value)


def _shown(value: object) -> str:
    """A number as it is; of anything else the kind, since a text may be about a patient."""
    return str(value)[:20] if isinstance(value, (int, float)) else type(value).__name__


def _box(content: Mapping[str, Any]) -> Box:
    value = content.get("box")
    rule, action = "a box must be four numbers", "Draw it on the prior image"
    if not isinstance(value, list) or len(value) != 4:
        found = f"{len(value)} entries" if isinstance(value, list) else type(value).__name__
        raise RequestError(rule, found=found, action=action)
    if not all(isinstance(side, (int, float)) and math.isfinite(side) for side in value):
        raise RequestError(rule, found="an entry that is not a finite number", action=action)
    left, top, right, bottom = (min(max(float(side), 0.0), 1.0) for side in value)
    if right - left < 0.01 or bottom - top < 0.01:
        found = f"{right - left:.3f} × {bottom - top:.3f}"
        raise RequestError("a box must be at least 0.01 wide and high", found=found, action=action)
    return left, top, right, bottom
