"""DICOM: decode the stored values, without what does not belong to them: bits outside the pixel's own, and padding."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.read.dicom_header import cut_short, photometric_interpretation, refuse_wrong_length

if TYPE_CHECKING:
    import pydicom
    from pydicom.uid import UID

DECODERS = {
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG baseline
    "1.2.840.10008.1.2.4.51": "pylibjpeg and pylibjpeg-libjpeg (GPLv3)",  # JPEG extended, 12 bit
    "1.2.840.10008.1.2.4.57": "python-gdcm",  # JPEG lossless
    "1.2.840.10008.1.2.4.70": "python-gdcm",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg and pylibjpeg-openjpeg",  # JPEG 2000
    "1.2.840.10008.1.2.4.91": "pylibjpeg and pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg and pylibjpeg-openjpeg",  # high-throughput JPEG 2000
    "1.2.840.10008.1.2.4.202": "pylibjpeg and pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg and pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.5": "pydicom",  # RLE
}
"""Transfer syntax → the package that decodes it, for the error message."""

JPEG_FAMILY = "1.2.840.10008.1.2.4."
RLE = "1.2.840.10008.1.2.5"
LOSSY = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 81))
"""JPEG baseline and extended, near-lossless JPEG-LS."""

_END_OF_PIXELS, _TAIL = b"\xfe\xff\xdd\xe0\0\0\0\0", 65536

MAX_WRAPPED = 2e-4
"""Share of neighbours that may look like values wrapped around in BitsStored."""


@dataclass(frozen=True)
class Stored:
    """The stored values of a frame.

    Attributes:
        values: integers, shape (H, W), or (H, W, 3) for colour.
        padding: where they are padding, bool, shape (H, W); None without a padding value.
    """

    values: np.ndarray
    padding: np.ndarray | None = None


def read_stored(dataset: pydicom.Dataset) -> Stored:
    """Decode the pixels of a data set.

    Raises:
        ImageError: if the codec is not installed, or bits outside the pixels' own cannot be told from them.
    """
    import pydicom.pixels

    _require_decoder(dataset.file_meta.TransferSyntaxUID)
    _refuse_cut_codestream(dataset)
    refuse_wrong_length(dataset, count=len(dataset.PixelData))
    dataset.PhotometricInterpretation = photometric_interpretation(dataset)  # pydicom's decoders want it so
    is_grey = int(dataset.SamplesPerPixel) == 1
    try:
        cells = pydicom.pixels.pixel_array(dataset, index=0, correct_unused_bits=not is_grey)
    except RuntimeError as error:
        if "does not support" in str(error):  # a decoder is installed, but not for this variant of the syntax
            raise _no_decoder(dataset.file_meta.TransferSyntaxUID) from error
        raise
    if not is_grey:
        return Stored(cells)
    values = _take_pixels(cells, dataset)
    return Stored(values, _padding_mask(dataset, values, cells))


def is_in_doubt(header: pydicom.Dataset, path: str | Path) -> bool:
    """Whether only decoding can tell if a file's pixels can be read, as far as its header and its end show.

    So are pixels that do not end at BitsStored, compressed ones without a decoder, an end or a last marker, and RLE.
    """
    syntax = header.file_meta.TransferSyntaxUID
    if int(header.BitsStored) != int(header.get("HighBit", header.BitsStored - 1)) + 1:
        return True
    if not syntax.is_encapsulated or syntax.is_deflated:
        return False
    with Path(path).open("rb") as stream:
        stream.seek(-min(_TAIL, stream.seek(0, os.SEEK_END)), os.SEEK_END)
        last, end, _ = stream.read().rpartition(_END_OF_PIXELS)
    is_whole = end and (b"\xff\xd9" in last[-64:] or not syntax.startswith(JPEG_FAMILY))
    return not is_whole or syntax not in DECODERS or syntax == RLE


def _take_pixels(cells: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Take each pixel's bits out of its cell, whose other bits may hold an overlay or noise.

    pydicom masks only uncompressed pixels, and takes HighBit for BitsStored - 1. Some files state a higher HighBit than
    their pixels have, so it is followed only where the pixels do not read smoothly from the lowest bit on.
    """
    width, stored = 8 * cells.dtype.itemsize, int(dataset.BitsStored)
    high = stored - 1 if dataset.get("HighBit") is None else int(dataset.HighBit)
    if stored >= width:
        return cells
    below = high + 1 - stored if high < width else 0
    values = _take_bits(cells, above=width - stored, below=0)
    if below and not (cells & (2**below - 1)).any():
        return _take_bits(cells, above=width - stored - below, below=below)
    if np.array_equal(values, cells):
        return cells
    wraps = _wraps(values, cells, span=2**stored)
    if below and wraps:
        values = _take_bits(cells, above=width - stored - below, below=below)
        wraps = _wraps(values.astype(np.int64) << below, cells, span=2 ** (stored + below))
    syntax = dataset.file_meta.TransferSyntaxUID
    is_lossy = syntax.is_encapsulated and (syntax in LOSSY or str(dataset.get("LossyImageCompression")) == "01")
    is_signed = cells.dtype.kind == "i"  # the bits above may then be copies of the sign, or not
    if is_lossy or (wraps and not is_signed):
        rule, action = "pixels must fit into BitsStored", "Have the archive send the image uncompressed"
        raise ImageError(rule, found=f"values of more than {stored} bits", action=action, reason="bits inconsistent")
    return values


def _take_bits(cells: np.ndarray, *, above: int, below: int) -> np.ndarray:
    """Remove the `above` highest bits and the `below` lowest ones; the sign is that of the highest bit that is left."""
    return np.right_shift(np.left_shift(cells, above), above + below)


def _wraps(values: np.ndarray, cells: np.ndarray, *, span: int) -> bool:
    """Whether neighbours in a row differ by more than half of `span`, but not with the bits above.

    A higher value that loses its highest bits looks so; a pixel under an overlay does not.
    """
    without, with_bits = (np.abs(np.diff(array.astype(np.int64), axis=1)) for array in (values, cells))
    return bool(((without > span // 2) & (with_bits < without - span // 4)).mean() > MAX_WRAPPED)


def _padding_mask(dataset: pydicom.Dataset, values: np.ndarray, cells: np.ndarray) -> np.ndarray | None:
    """Where the values are padding.

    Devices write PixelPaddingValue in the other sign than the pixels have, or as the whole cell: with bits above or
    below the pixels' own, or all ones where the pixels hold only their largest value. Where no cell has it, and the
    bits below are set in cells of one value alone, these are the padding: its own bits are not moved up.
    """
    limits = [dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")]
    if not isinstance(limits[0], int):
        return None
    limits = [limits[0], limits[1] if isinstance(limits[1], int) else limits[0]]
    is_signed = int(dataset.PixelRepresentation) == 1

    def between(array: np.ndarray, bits: int) -> tuple[np.ndarray, bool]:
        lowest = -(2 ** (bits - 1)) if is_signed else 0
        own = [(limit - lowest) % 2**bits + lowest for limit in limits]
        return (array >= min(own)) & (array <= max(own)), own == limits

    by_value, fits = between(values, int(dataset.BitsStored))
    by_cell, _ = between(cells, 8 * cells.dtype.itemsize)
    if fits:
        return by_cell if by_cell.sum() > by_value.sum() else by_value
    if by_cell.any() or by_value.any():
        return by_cell if by_cell.any() else by_value
    below = (cells & (2 ** max(int(dataset.get("HighBit") or 0) + 1 - int(dataset.BitsStored), 0) - 1)) != 0
    return below if np.unique(cells[below]).size == 1 else by_value


def _refuse_cut_codestream(dataset: pydicom.Dataset) -> None:
    """Refuse a frame of the JPEG family without its end: some decoders fill in what is missing."""
    from pydicom.encaps import get_frame

    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.startswith(JPEG_FAMILY):
        return
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    start = max(frame.rfind(b"\xff\xda"), frame.rfind(b"\xff\x93"))  # of a scan, of a tile's data (JPEG 2000)
    if frame.rfind(b"\xff\xd9") <= start:  # data hold no such marker
        raise cut_short("a codestream without its end")


def _require_decoder(syntax: UID) -> None:
    from pydicom.pixels import get_decoder

    try:
        if not syntax.is_compressed or get_decoder(syntax).is_available:
            return
    except NotImplementedError:  # a syntax that pydicom does not know, such as video
        pass
    raise _no_decoder(syntax)


def _no_decoder(syntax: UID) -> ImageError:
    package = DECODERS.get(syntax)
    return ImageError(
        "the pixels' compression must have a decoder",
        found=f"{syntax.name} without one",
        action=f"Install {package}" if package else "Have the archive send the image uncompressed",
        reason="codec absent",
    )
