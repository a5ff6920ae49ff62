"""Kinds of unusual DICOM files: each makes a file's bytes and the picture that it shows, None if it must be refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

Made = tuple[bytes, np.ndarray | None]
CODECS = (None, RLELossless, JPEG2000Lossless, JPEGLSLossless)
PLANTED_TEXTS = dict.fromkeys(
    ("PatientName", "PatientID", "AccessionNumber", "StudyDescription", "ReferringPhysicianName"), "ZXQNAME 7700770077"
)


def header(cells: np.ndarray, stored: int, *, below: int = 0, **values: Any) -> Dataset:
    """A chest radiograph of cells, shape (H, W), of 8 or 16 bits, with `stored` bits from the bit `below` on."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    width = 8 * cells.dtype.itemsize
    content = PLANTED_TEXTS | {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1",
        **{name: generate_uid() for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")},
        **{"Modality": "CR", "BodyPartExamined": "CHEST", "ViewPosition": "PA", "StudyDate": "20200102"},
        **{"StudyTime": "101500", "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"},
        **{"Rows": cells.shape[0], "Columns": cells.shape[1], "BitsAllocated": width, "BitsStored": stored},
        **{"HighBit": stored - 1 + below, "PixelRepresentation": int(cells.dtype.kind == "i")},
    }
    for keyword, value in (content | values).items():
        setattr(dataset, keyword, value)
    dataset.PixelData = np.ascontiguousarray(cells).tobytes()
    dataset["PixelData"].VR = "OW" if width > 8 else "OB"
    return dataset


def save(dataset: Dataset, codec: Any = None) -> bytes:
    """The file. A codec gets whole cells: what the header says of their bits is put back afterwards."""
    if codec is not None:
        names = ("BitsStored", "HighBit", "PhotometricInterpretation")
        kept = {name: getattr(dataset, name) for name in names}
        dataset.BitsStored, dataset.HighBit = dataset.BitsAllocated, dataset.BitsAllocated - 1
        if int(dataset.SamplesPerPixel) == 1:
            dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.compress(codec, generate_instance_uid=False)
        for name, value in kept.items():
            setattr(dataset, name, value)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def quantise(chest: np.ndarray, stored: int, *, margin: int = 0) -> np.ndarray:
    """Whole numbers of `stored` bits; `margin` values at each end are left free."""
    return np.rint(chest * (2**stored - 1 - 2 * margin)).astype(np.int64) + margin


def raw(dataset: Dataset, keyword: str, text: str) -> None:
    """Set a value that pydicom's types would refuse."""
    content = text.encode() + b" " * (len(text) % 2)
    vr = pydicom.datadict.dictionary_VR(keyword)
    dataset[keyword] = RawDataElement(Tag(keyword), vr, len(content), content, 0, False, True)


def pick(rng: np.random.Generator, choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def high_bit(rng: np.random.Generator, chest: np.ndarray) -> Made:
    stored = int(rng.integers(8, 15))
    below = int(rng.integers(0, 17 - stored))
    cells = quantise(chest, stored) << below
    if below and rng.random() < 0.5:
        cells |= rng.integers(0, 2**below, cells.shape)
    return save(header(cells.astype("<u2"), stored, below=below), pick(rng, CODECS)), chest


def overlay(rng: np.random.Generator, chest: np.ndarray) -> Made:
    stored = int(rng.integers(8, 15))
    box = np.zeros(chest.shape, np.int64)
    box[20 : 20 + int(rng.integers(5, 90)), 30:100] = 1
    cells = quantise(chest, stored) | box << int(rng.integers(stored, 16))
    return save(header(cells.astype("<u2"), stored), pick(rng, CODECS)), chest


def padding(rng: np.random.Generator, chest: np.ndarray) -> Made:
    """A band of padding at the top of the range or its bottom; its value written in one of the usual ways."""
    stored = int(pick(rng, (10, 12, 14, 16)))
    below = int(rng.choice([0, 16 - stored]))
    values, shown = quantise(chest, stored, margin=2), chest.copy()
    is_inverse = rng.random() < 0.3
    values = 2**stored - 1 - values if is_inverse else values
    pad = int(rng.choice([0, 2**stored - 1]))
    cell = int(rng.choice([pad << below, 65535, pad])) if pad else 0
    cells = values << below
    for place in (slice(0, int(rng.integers(4, 30))), slice(-int(rng.integers(1, 20)), None)):
        cells[place], shown[place] = cell, 0.0
    written = [cell, cell - 65536 if cell > 32767 else cell]  # in the cell's units, also in the other sign
    written += [pad] if cell == pad << below else []
    written += [65535] if pad else []
    named = int(pick(rng, written))
    dataset = header(cells.astype("<u2"), stored, below=below)
    dataset.PhotometricInterpretation = "MONOCHROME1" if is_inverse else "MONOCHROME2"
    dataset.add_new("PixelPaddingValue", "SS" if named < 0 else "US", named)
    return save(dataset, pick(rng, CODECS)), shown


def signed(rng: np.random.Generator, chest: np.ndarray) -> Made:
    """Two's complement in BitsStored, with copies of the sign above or zeros; padding in the other sign."""
    stored = int(rng.integers(9, 16))
    low = -(2 ** (stored - 1))
    values, shown = quantise(chest, stored, margin=2) + low, chest.copy()
    if has_padding := rng.random() < 0.5:
        values[:12], shown[:12] = low, 0.0
    cells = values if rng.random() < 0.5 else values & (2**stored - 1)
    dataset = header(cells.astype("<i8").astype("<i2"), stored)
    dataset.RescaleSlope, dataset.RescaleIntercept = "1", str(int(rng.integers(-2000, 2000)))
    if has_padding:
        dataset.add_new("PixelPaddingValue", "US", int(rng.choice([low % 65536, low % 2**stored])))
    return save(dataset), shown


def palette(rng: np.random.Generator, chest: np.ndarray) -> Made:
    entries, bits, first = int(pick(rng, (200, 256))), int(pick(rng, (8, 16))), int(pick(rng, (0, 0, 20)))
    entries = min(entries, 256 - first)
    order = pick(rng, (np.arange(entries), np.arange(entries)[::-1], rng.permutation(entries)))
    levels = np.linspace(0, 2**bits - 1, entries).round().astype(int)
    cells = np.argsort(order)[np.rint(chest * (entries - 1)).astype(int)] + first
    dataset = header(cells.astype("u1"), 8, PhotometricInterpretation="PALETTE COLOR")
    is_grey = rng.random() < 0.8
    for number, colour in enumerate(("Red", "Green", "Blue")):
        table = levels[order] if is_grey or number else levels[order][::-1]
        dataset.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [entries, first, bits])
        words = table.astype(f"<u{bits // 8}").tobytes()
        dataset.add_new(f"{colour}PaletteColorLookupTableData", "OW", words + b"\0" * (len(words) % 2))
    return save(dataset), chest if is_grey else None


def table(rng: np.random.Generator, chest: np.ndarray) -> Made:
    """A modality or display table that takes a gamma back."""
    stored, gamma, bits = int(rng.integers(8, 13)), float(rng.uniform(0.5, 2)), int(rng.integers(10, 17))
    cells = quantise(chest ** (1 / gamma), stored)
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [2**stored % 65536, 0, bits])
    entries = np.rint(np.linspace(0, 1, 2**stored) ** gamma * (2**bits - 1))
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    dataset = header(cells.astype("<u2"), stored)
    setattr(dataset, pick(rng, ("ModalityLUTSequence", "VOILUTSequence")), [item])
    return save(dataset), chest


def inverse(rng: np.random.Generator, chest: np.ndarray) -> Made:
    forms = [("MONOCHROME1", "", True), ("MONOCHROME1", "INVERSE", True), ("MONOCHROME2", "INVERSE", True)]
    forms += [("MONOCHROME2", "IDENTITY", False), (" monochrome1", "", True)]
    interpretation, shape, turned = pick(rng, forms)
    dataset = header(quantise(1 - chest if turned else chest, 12).astype("<u2"), 12)
    raw(dataset, "PhotometricInterpretation", interpretation)
    if shape:
        dataset.PresentationLUTShape = shape
    return save(dataset), chest


def aspect(rng: np.random.Generator, chest: np.ndarray) -> Made:
    """Pixels of unequal sides, by a spacing or a ratio, or by two that contradict each other."""
    ratio = float(pick(rng, (0.4, 0.5, 2 / 3, 1.5, 2.0, 2.5)))
    rows, columns = chest.shape
    size = (columns, round(rows / ratio)) if ratio > 1 else (round(columns * ratio), rows)
    cells = quantise(cv2.resize(chest, size, interpolation=cv2.INTER_AREA), 12).astype("<u2")
    keyword = pick(rng, ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"))
    sides = [str(round(200 * ratio)), "200"] if "Ratio" in keyword else [f"{0.2 * ratio:.6f}", "0.2"]
    dataset = header(cells, 12, **{keyword: sides})
    contradicts = rng.random() < 0.25
    if contradicts:
        dataset.NominalScannedPixelSpacing = ["0.2", f"{0.2 * ratio * 1.5:.6f}"]
    return save(dataset), None if contradicts else chest


def window(rng: np.random.Generator, chest: np.ndarray) -> Made:
    dataset = header(quantise(chest, 12).astype("<u2"), 12)
    odd = ("NaN", "2047,5", "[2048]", "", "inf", "-Infinity", "ZXQNAME", "1e400", "--5", "0x800", "2048;4096")
    raw(dataset, "WindowCenter", pick(rng, (*odd, "2048")))
    raw(dataset, "WindowWidth", pick(rng, (*odd, "0", "-4096")))
    return save(dataset), chest


def body_part(rng: np.random.Generator, chest: np.ndarray) -> Made:
    chests, others = ("CHEST PA", "TORAX", "THORAX AP", "chest_2V", "Tórax", ""), ("KNEE", "ABDOMEN", "T SPINE", "HAND")
    is_chest = rng.random() < 0.6
    dataset = header(quantise(chest, 12).astype("<u2"), 12, SpecificCharacterSet="ISO_IR 192")
    raw(dataset, "BodyPartExamined", "")
    name = pick(rng, chests if is_chest else others).encode()
    name += b" " * (len(name) % 2)
    dataset["BodyPartExamined"] = RawDataElement(Tag("BodyPartExamined"), "CS", len(name), name, 0, False, True)
    return save(dataset), chest if is_chest else None


def syntax(rng: np.random.Generator, chest: np.ndarray) -> Made:
    dataset = header(quantise(chest, 12).astype("<u2"), 12)
    codec = pick(rng, (ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, *CODECS[1:]))
    if codec in CODECS:
        return save(dataset, codec), chest
    dataset.file_meta.TransferSyntaxUID = codec
    if codec == ExplicitVRBigEndian:
        dataset.PixelData = quantise(chest, 12).astype(">u2").tobytes()
    return save(dataset), chest


def fragments(rng: np.random.Generator, chest: np.ndarray) -> Made:
    """A JPEG or JPEG 2000 frame in several fragments, with an offset table or without."""
    frame, dataset = _frame(rng, chest, (JPEG2000Lossless, JPEGBaseline8Bit))
    pieces = int(rng.integers(1, 5))
    dataset.PixelData = encapsulate([frame], fragments_per_frame=pieces, has_bot=bool(rng.integers(2)))
    return save(dataset), chest


def cut_codestream(rng: np.random.Generator, chest: np.ndarray) -> Made:
    """A whole DICOM file, whose codestream is shorter than it should be."""
    frame, dataset = _frame(rng, chest, (JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless))
    keep = int(len(frame) * rng.uniform(0.35, 0.97)) // 2 * 2
    dataset.PixelData = encapsulate([frame[:keep]])
    return save(dataset), None


def cut_file(rng: np.random.Generator, chest: np.ndarray) -> Made:
    content = save(header(quantise(chest, 12).astype("<u2"), 12), pick(rng, CODECS))
    start = content.index(b"\xe0\x7f\x10\x00O") + 12
    return content[: int(start + (len(content) - start) * rng.uniform(0, 0.98))], None


def _frame(rng: np.random.Generator, chest: np.ndarray, codecs: Any) -> tuple[bytes, Dataset]:
    codec = pick(rng, codecs)
    eight = quantise(chest, 8).astype("u1")
    if codec == JPEGBaseline8Bit:
        stream, dataset = io.BytesIO(), header(eight, 8)
        Image.fromarray(eight).save(stream, "JPEG", quality=95)
        dataset.file_meta.TransferSyntaxUID, frame = codec, stream.getvalue()
    else:
        dataset = header(quantise(chest, 12).astype("<u2"), 12)
        save(dataset, codec)
        frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return frame, dataset


def colour(rng: np.random.Generator, chest: np.ndarray) -> Made:
    eight = quantise(chest, 8).astype("u1")
    planes = np.stack([eight] * 3, axis=2)
    interpretation = pick(rng, ("RGB", "YBR_FULL"))
    if interpretation == "YBR_FULL":
        planes[..., 1:] = 128
    planar = int(rng.integers(2))
    dataset = header(eight, 8, SamplesPerPixel=3, PhotometricInterpretation=interpretation, PlanarConfiguration=planar)
    dataset.PixelData = np.ascontiguousarray(planes.transpose(2, 0, 1) if planar else planes).tobytes()
    return save(dataset), chest


def broken_header(rng: np.random.Generator, chest: np.ndarray) -> Made:
    """What no reader can make good."""
    dataset = header(quantise(chest, 12).astype("<u2"), 12)
    faults: dict[str, Any] = {
        "Modality": "CT",
        "NumberOfFrames": "2",
        "PresentationIntentType": "FOR PROCESSING",
        "BitsStored": 14,
        "BitsAllocated": 12,
        "PhotometricInterpretation": "HSV",
        "Columns": dataset.Columns - int(rng.integers(1, 9)),
        "Rows": dataset.Rows // 2,
        "RescaleSlope": None,
        "SamplesPerPixel": None,
        "PixelRepresentation": None,
        "TransferSyntaxUID": None,
        "preamble": None,
    }
    name = pick(rng, list(faults))
    if name == "RescaleSlope":
        raw(dataset, name, "ZXQNAME")
    elif faults[name] is not None:
        setattr(dataset, name, faults[name])
    elif name in dataset:
        delattr(dataset, name)
    content = save(dataset)
    if name == "preamble":
        return content[132:], None
    if name == "TransferSyntaxUID":
        return content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0"), None
    return content, None


def damaged_text(rng: np.random.Generator, chest: np.ndarray) -> Made:
    """Some bytes of the patient's and the study's attributes are others; the picture's own are whole."""
    content = bytearray(save(header(quantise(chest, 12).astype("<u2"), 12)))
    end = content.index(b"\x28\x00\x02\x00US")
    for place in rng.integers(300, end, int(rng.integers(1, 12))):
        content[place] = int(rng.integers(256))
    return bytes(content), chest


_KINDS = (high_bit, overlay, padding, signed, palette, table, inverse, aspect, window, body_part, syntax, fragments)
_KINDS += (cut_codestream, cut_file, colour, broken_header, damaged_text)
DICOM: dict[str, Callable[[np.random.Generator, np.ndarray], Made]] = {
    kind.__name__.replace("_", " "): kind for kind in _KINDS
}
