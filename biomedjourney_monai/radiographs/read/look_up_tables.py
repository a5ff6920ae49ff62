"""DICOM look-up tables: those of modality and display (VOI), and palettes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from biomedjourney_monai.errors import ImageError

if TYPE_CHECKING:
    import pydicom

GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)
"""Of red, green and blue."""

PALETTE_TABLES = tuple(f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue"))
PALETTE_KEYWORDS = (
    *(f"{table}{part}" for table in PALETTE_TABLES for part in ("Descriptor", "Data")),
    *(f"Segmented{table}Data" for table in PALETTE_TABLES),
)
MAX_TINT = 0.1
"""Largest difference between the colours of a palette that counts as grey, as a part of its range."""


def read_table(
    descriptor: Sequence[int], data: bytes | int | Sequence[int], *, byte_order: str, is_signed: bool
) -> tuple[int, np.ndarray]:
    """Read a table as (the value of its first entry, its entries as float32).

    Args:
        descriptor: number of entries (0 for 65,536), first value, bits of an entry.
        data: words, or two 8-bit entries packed in each, the low byte first.
        byte_order: of the words in the file, "<" or ">": pydicom returns OW values as they are in the file.
        is_signed: whether the table is entered with negative values.

    Raises:
        ImageError: if entries are missing.
    """
    count, first, _bits = (int(value) for value in descriptor)
    count = count or 65536
    if isinstance(data, bytes):
        words = np.frombuffer(data[: len(data) // 2 * 2], f"{byte_order}u2").astype("<u2")
    else:
        words = np.atleast_1d(np.asarray(data)).astype(np.int64).astype("<u2")
    if words.size == 0:
        raise _missing("no LUTData")
    table = words if words.size >= count else words.view(np.uint8)
    if table is not words and table.size not in (count, count + 1):
        raise _missing("another number than its descriptor states")
    if first > 32767 and is_signed:  # read as unsigned where the pixels are signed
        first -= 65536
    return first, table[:count].astype(np.float32)


def look_up(table: tuple[int, np.ndarray], values: np.ndarray) -> np.ndarray:
    """Map values through a table of `read_table`; values outside it take its ends."""
    first, entries = table
    return entries[np.clip(np.rint(values).astype(np.int64) - first, 0, entries.size - 1)]


def byte_order(dataset: pydicom.Dataset) -> str:
    """The byte order of the file's words, "<" or ">"."""
    return ">" if dataset.original_encoding[1] is False else "<"


def read_palette(dataset: pydicom.Dataset) -> tuple[int, np.ndarray]:
    """Read a grey palette as a table for `look_up`.

    Raises:
        ImageError: if the palette is missing or coloured: brightness does not show density in false colours.
    """
    if PALETTE_KEYWORDS[0] not in dataset:
        raise ImageError(
            "a PALETTE COLOR image must have its palette", found="no palette", reason="palette missing or coloured"
        )
    if f"Segmented{PALETTE_TABLES[0]}Data" in dataset:
        first, colours = _expand_segments(dataset)
    else:
        signed = int(dataset.get("PixelRepresentation") or 0) == 1
        read = partial(read_table, byte_order=byte_order(dataset), is_signed=signed)
        tables = [read(dataset[f"{name}Descriptor"].value, dataset[f"{name}Data"].value) for name in PALETTE_TABLES]
        first = tables[0][0]
        if len({(start, table.size) for start, table in tables}) != 1:
            raise _missing("tables of different lengths")
        colours = np.stack([table for _, table in tables], axis=1)  # (entries, 3)
    span = max(float(np.ptp(colours)), 1.0)
    if float(np.ptp(colours, axis=1).max()) > MAX_TINT * span:
        raise ImageError(
            "a palette must be grey",
            found="colours",
            action="Export the image as MONOCHROME2",
            reason="palette missing or coloured",
        )
    return first, colours @ GREY_WEIGHTS


def _expand_segments(dataset: pydicom.Dataset) -> tuple[int, np.ndarray]:
    from pydicom.pixels import apply_color_lut

    count, first, bits = (int(value) for value in dataset[f"{PALETTE_TABLES[0]}Descriptor"].value)
    count = count or 65536
    if bits == 8 and count > 256:  # pydicom's index would overflow
        raise _missing("8-bit segments of more than 256 entries")
    if first > 32767 and int(dataset.get("PixelRepresentation") or 0) == 1:
        first -= 65536
    return first, apply_color_lut(np.arange(first, first + count), dataset)[:, :3].astype(np.float32)


def _missing(found: str) -> ImageError:
    return ImageError(
        "a DICOM look-up table must have all its entries",
        found=found,
        action="Export the image again",
        reason="image damaged",
    )
