"""Uploads from a web page: hostile until read, in a process of its own with bounds on time and memory, never on disk.

The bytes travel in memory; the name that the file had elsewhere is not even sent. What is no JPEG, PNG or DICOM, or is
too large, is refused from its first bytes and its length. Everything else is decoded by a child process
(`upload_reader`), which is ended when it takes too long and cannot take more memory than it is given.
"""

from __future__ import annotations

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
from biomedjourney_monai.radiographs.read import dicom_header, photographs

MAX_BYTES = 64 * 1024**2
"""A chest radiograph as uncompressed DICOM has up to 35 MB."""

READ_SECONDS = 40.0
"""For the child process to start and to decode; a large detector's JPEG 2000 takes a few."""


IN_MEMORY = hasattr(os, "memfd_create")


class LimitError(BiomedJourneyError):
    """A request that is too large, or takes too long."""


@dataclass(frozen=True)
class Upload:
    """An upload that has been read.

    Attributes:
        image: the square that the model sees, float32 in [0, 1], shape (S, S).
        original_hw: height and width in the file.
        preview: the whole image for the eye, uint8, shape (H, W), the longer side at most `PREVIEW_SIDE`; None unless
            asked for.
        source: what a DICOM file hands on to a counterfactual, as DICOM bytes; empty for other kinds.
        has_burned_in_text: what a DICOM file says of itself.
        is_synthetic: likewise.
        is_marked: what any file says of itself: that this package made its picture (`carries_mark`).
    """

    image: np.ndarray = field(repr=False)
    original_hw: tuple[int, int]
    preview: np.ndarray | None = field(default=None, repr=False)
    source: bytes = field(default=b"", repr=False)
    has_burned_in_text: bool = False
    is_synthetic: bool = False
    is_marked: bool = False


def check_kind(data: bytes, *, max_bytes: int = MAX_BYTES) -> None:
    """Refuse what is too large, or neither JPEG, PNG nor DICOM by its first bytes.

    Raises:
        LimitError: if there are too many bytes.
        ImageError: if it is another kind of file, or none.
    """
    if len(data) > max_bytes:
        raise too_large(len(data), max_bytes=max_bytes)
    if not data:
        raise ImageError("an image file must not be empty", found="0 bytes", reason="image file empty")
    if not (photographs.is_photograph(data) or dicom_header.is_dicom(data)):
        raise ImageError(
            "an upload must be a JPEG, PNG or DICOM image",
            found="another kind of file, whatever its name says",
            action="Export the radiograph as one of these",
            reason="unknown image format",
        )


def too_large(count: int, *, max_bytes: int = MAX_BYTES) -> LimitError:
    """The error for an upload of `count` bytes, or announced to have them."""
    return LimitError(
        f"an upload must have at most {max_bytes // 1024**2} MB", found=f"{count / 1024**2:,.0f} MB or more"
    )


def read_upload(
    data: bytes, *, size: int, with_preview: bool = False, seconds: float = READ_SECONDS, max_bytes: int = MAX_BYTES
) -> Upload:
    """Decode an upload in a child process.

    Args:
        data: the file's bytes.
        size: side of the square that the model takes, in pixels.
        with_preview: also make the picture for the eye.
        seconds: after which the child is ended.
        max_bytes: of the upload.

    Raises:
        LimitError: if it is too large, or takes too long.
        ImageError: as `radiographs.load_radiograph`, and for what brings the decoder down.
    """
    check_kind(data, max_bytes=max_bytes)
    with _as_nameless_file(data) as stream:
        try:
            child = subprocess.run(
                [sys.executable, "-m", upload_reader.__name__, str(size), *(["preview"] if with_preview else [])],
                stdin=stream,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # a decoder's complaint may quote the file
                timeout=seconds,
                env={**os.environ, **upload_reader.ENVIRONMENT},
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LimitError(f"an image must be readable within {seconds:g} seconds", found="a slower one") from error
    return _take(child.returncode, child.stdout)


def _take(status: int, answer: bytes) -> Upload:
    """What the child answered; it is trusted no further than the file that it read."""
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
        height, width, *told = (int(value) for value in parts["facts"])
        source = parts["source"].tobytes()
        return Upload(parts["image"], (height, width), preview, source, *map(bool, told))


@contextmanager
def _as_nameless_file(data: bytes) -> Iterator[IO[bytes]]:
    """A file without a name: in memory on Linux, else one that is gone from its folder as soon as it is open."""
    with os.fdopen(os.memfd_create("upload"), "w+b") if IN_MEMORY else tempfile.TemporaryFile() as stream:
        stream.write(data)
        stream.flush()
        stream.seek(0)
        yield stream
