"""Kinds of unusual photographs and NIfTI files; as in `dicom`."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable

import cv2
import nibabel
import numpy as np
from nibabel.orientations import ornt_transform
from PIL import Image

from .dicom import Made, pick


def _eight(chest: np.ndarray) -> np.ndarray:
    return np.rint(chest * 255).astype(np.uint8)


def _encode(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_modes(rng: np.random.Generator, chest: np.ndarray) -> Made:
    """16 bits, a palette, transparency, interlacing and rows of colour."""
    grey = Image.fromarray(_eight(chest))
    alpha = Image.merge("LA", (grey, Image.new("L", grey.size, int(rng.integers(1, 256)))))
    deep = Image.fromarray(np.rint(chest * 65535).astype(np.uint16))
    palette = grey.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    return _encode(pick(rng, (deep, palette, alpha, grey.convert("RGBA"), grey.convert("RGB"))), "PNG"), chest


def jpeg_modes(rng: np.random.Generator, chest: np.ndarray) -> Made:
    """Progressive, CMYK, colour, with a comment, or with bytes after its end."""
    grey = Image.fromarray(_eight(chest))
    image = pick(rng, (grey, grey.convert("RGB"), grey.convert("RGB").convert("CMYK")))
    content = _encode(image, "JPEG", quality=95, progressive=bool(rng.integers(2)), comment=b"ZXQNAME 7700770077")
    return content + pick(rng, (b"", b"\0" * 100, b"ZXQNAME")), chest


def exif(rng: np.random.Generator, chest: np.ndarray) -> Made:
    """A picture that is stored turned or mirrored, as its EXIF says."""
    number = int(rng.integers(1, 9))
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[number]
    image = Image.fromarray(_eight(chest))
    image = image if back is None else image.transpose(Image.Transpose(back))
    tags = Image.Exif()
    tags[0x0112], tags[0x010E] = number, "ZXQNAME 7700770077"
    return _encode(image, pick(rng, ("JPEG", "PNG")), exif=tags), chest


def cut_photograph(rng: np.random.Generator, chest: np.ndarray) -> Made:
    kind = pick(rng, ("JPEG", "PNG"))
    content = _encode(Image.fromarray(_eight(chest)), kind)
    return content[: int(len(content) * rng.uniform(0.2, 0.97))], None


def other_format(rng: np.random.Generator, chest: np.ndarray) -> Made:
    image = Image.fromarray(_eight(chest))
    kind = pick(rng, ("BMP", "TIFF", "GIF", "text", "zip", "noise"))
    others = {"text": b"ZXQNAME 7700770077", "zip": b"PK\x03\x04" + bytes(60), "noise": rng.bytes(500)}
    return others.get(kind) or _encode(image, kind), None


def bordered(rng: np.random.Generator, chest: np.ndarray) -> Made:
    """A photograph of a film on a bright wall."""
    rows, columns = (round(side * rng.uniform(0.12, 0.3)) for side in chest.shape)
    level = float(rng.uniform(0.55, 1))
    wall = np.full((chest.shape[0] + 2 * rows, chest.shape[1] + 2 * columns), level, np.float32)
    wall += rng.normal(0, 0.005, wall.shape).astype(np.float32)
    wall[rows:-rows, columns:-columns] = chest
    return _encode(Image.fromarray(_eight(np.clip(wall, 0, 1))), "JPEG", quality=95), None


def stretched(rng: np.random.Generator, chest: np.ndarray) -> Made:
    factor, tall = float(rng.uniform(2, 3)), bool(rng.integers(2))
    rows, columns = chest.shape
    size = (columns, round(rows * factor)) if tall else (round(columns * factor), rows)
    return _encode(Image.fromarray(_eight(cv2.resize(chest, size))), "PNG"), None


def nifti_axes(rng: np.random.Generator, chest: np.ndarray) -> Made:
    """A coronal picture whose axes are stored in any order and direction, in any type, compressed or not."""
    kind = pick(rng, ("u1", "<i2", ">i2", "<f4", "<f8"))
    data = (chest.T[:, None, :] * (250 if kind == "u1" else 3000)).astype(kind)
    image = nibabel.Nifti1Image(data, np.diag([-0.4, 1, -0.4, 1]))
    if kind.startswith(">"):
        image = nibabel.Nifti1Image(data, np.diag([-0.4, 1, -0.4, 1]), header=image.header.as_byteswapped(">"))
    order, signs = rng.permutation(3), rng.choice([-1, 1], 3)
    target = np.stack([order, signs], axis=1).astype(float)
    image = image.as_reoriented(ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), target))
    image.header["descrip"] = b"ZXQNAME 7700770077"
    content = image.to_bytes()
    return gzip.compress(content) if rng.integers(2) else content, chest


def nifti_other(rng: np.random.Generator, chest: np.ndarray) -> Made:
    """Axial planes, several frames, numbers that are none, and files that are cut."""
    data, affine = (chest.T[:, None, :] * 3000).astype("<f4"), np.diag([-0.4, 1, -0.4, 1])
    kind = pick(rng, ("frames", "nan", "sagittal", "cut", "cut gzip"))
    if kind == "frames":
        data = np.repeat(data, 3, axis=1)
    if kind == "nan":
        data[10, 0, 10] = np.nan
    if kind == "sagittal":
        data = data.transpose(1, 0, 2)
    content = nibabel.Nifti1Image(data, affine).to_bytes()
    if kind == "cut gzip":
        content = gzip.compress(content)
    return content[: int(len(content) * rng.uniform(0.3, 0.95))] if kind.startswith("cut") else content, None


_KINDS = (png_modes, jpeg_modes, exif, cut_photograph, other_format, bordered, stretched, nifti_axes, nifti_other)
PICTURES: dict[str, Callable[[np.random.Generator, np.ndarray], Made]] = {
    kind.__name__.replace("_", " "): kind for kind in _KINDS
}
