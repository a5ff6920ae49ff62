"""Uploads from a web page. They are not trusted: each is read in a child process with limits, and never from disk.

The bytes stay in memory, and the browser does not send the file's name. Files that are too large or not JPEG, PNG or
DICOM are refused by their length and first bytes. All others are decoded by a child process (`upload_reader`) with
limits on time and memory.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

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
