"""Whether an image was ever compressed with loss, in DICOM's attributes: what is derived from it says so too."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from biomedjourney_monai.radiographs.read import photographs
from biomedjourney_monai.radiographs.read.dicom_header import numbers, texts

if TYPE_CHECKING:
    import pydicom

FLAG, RATIO, METHOD = "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"
KEYWORDS = (FLAG, RATIO, METHOD)
SIZES = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
"""What the ratio is computed from."""

JPEG = "ISO_10918_1"
ALWAYS = {"1.2.840.10008.1.2.4.50": JPEG, "1.2.840.10008.1.2.4.51": JPEG, "1.2.840.10008.1.2.4.81": "ISO_14495_1"}
"""Transfer syntax that loses information → its method: DICOM PS3.3 C.7.6.1.1.5."""

JPEG_2000 = {"1.2.840.10008.1.2.4.91": "ISO_15444_1", "1.2.840.10008.1.2.4.203": "ISO_15444_15"}
"""These lose information only with the irreversible wavelet."""

_IRREVERSIBLE_AT = 13
"""Bytes from the start of a JPEG 2000 stream's marker COD to the one that is 0 for the irreversible wavelet."""


def declare_lossy(dataset: pydicom.Dataset, *, beginning: bytes, length: int) -> None:
    """Set the attributes of a DICOM image of which its transfer syntax knows more than its header.

    Args:
        dataset: with `KEYWORDS`, `SIZES` and file meta information, as far as the file has them.
        beginning: of its pixel data, some kilobytes.
        length: of its pixel data, in bytes.
    """
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    method = ALWAYS.get(syntax) or (JPEG_2000.get(syntax) if _is_irreversible(beginning) else None)
    if method is None or "".join(texts(dataset, FLAG)) == "01":
        return
    bits = math.prod(int(dataset.get(keyword) or 0) for keyword in SIZES)
    set_lossy(dataset, method=method, ratio=bits / 8 / max(1, length))


def _is_irreversible(beginning: bytes) -> bool:
    coding = beginning.find(b"\xff\x52", max(0, beginning.find(b"\xff\x4f\xff\x51")))
    return coding >= 0 and beginning[coding + _IRREVERSIBLE_AT : coding + _IRREVERSIBLE_AT + 1] == b"\0"


def lossy_photograph(data: bytes) -> pydicom.Dataset | None:
    """The attributes of a JPEG file; None for other formats, whose history is unknown."""
    import pydicom

    if not data.startswith(b"\xff\xd8"):
        return None
    height, width = photographs.decode_size(data)
    dataset = pydicom.Dataset()
    set_lossy(dataset, method=JPEG, ratio=height * width * photographs.count_channels(data) / len(data))
    return dataset


def set_lossy(dataset: pydicom.Dataset, *, method: str, ratio: float) -> None:
    """Declare a compression with loss; `ratio` is the size before over the size after it."""
    setattr(dataset, FLAG, "01")
    setattr(dataset, METHOD, method)
    setattr(dataset, RATIO, f"{max(ratio, 1):.4g}")


def copy_lossy(dataset: pydicom.Dataset, source: pydicom.Dataset | None) -> None:
    """Copy what is known of an image's compression: with loss, without, or nothing."""
    flag = "" if source is None else "".join(texts(source, FLAG))
    for keyword in KEYWORDS:
        if keyword in dataset:
            delattr(dataset, keyword)
    if source is None or flag not in ("00", "01"):
        return
    setattr(dataset, FLAG, flag)
    if flag == "00":
        return
    ratios, methods = [f"{ratio:.4g}" for ratio in numbers(source, RATIO) if ratio > 0], texts(source, METHOD)
    if ratios:
        setattr(dataset, RATIO, ratios)
    if methods and all(re.fullmatch(r"[A-Z0-9_ ]{1,16}", method) for method in methods):
        setattr(dataset, METHOD, methods)
