"""Systems that are scored: each gives one image for every journey, the baselines through the same code as the model."""

import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from biomedjourney_monai.errors import ImageError, TableError
from biomedjourney_monai.files import read_json_lines
from biomedjourney_monai.radiographs import load_radiograph, read_png
from biomedjourney_monai.schema import BASELINES_FOLDER

SAMPLES_TABLE = "samples.jsonl"
SAMPLES_ARRAY = "counterfactuals.npy"
COUNTERFACTUAL = "counterfactual"
"""Name of the model's images as a system."""

PICTURES = (".png", ".jpg", ".jpeg", ".dcm", ".nii", ".gz")


class System(Protocol):
    """Something that gives one image per journey.

    Attributes:
        name: in tables.
        meaning: one plain sentence for the report.
    """

    @property
    def name(self) -> str: ...

    @property
    def meaning(self) -> str: ...

    def image(self, journey: Mapping[str, Any]) -> np.ndarray:
        """Give the image for a row of pairs.parquet: float32 (H, W) in [0, 1].

        Raises:
            ImageError: if there is none, or it cannot be used.
        """


@dataclass(frozen=True)
class Counterfactuals:
    """The model's images, from the folder that `biomedjourney sample` wrote.

    Attributes:
        rows: journey_id -> its line of samples.jsonl.
        pixels: memory-mapped, shape (N, H, W), in [0, 1]; without the mark that the PNG files carry.
    """

    rows: dict[str, dict[str, Any]]
    pixels: np.ndarray = field(repr=False)
    name: str = COUNTERFACTUAL
    meaning: str = "The model's picture of the new examination, from the prior image and the description."

    def image(self, journey: Mapping[str, Any]) -> np.ndarray:
        """The model's image of a journey, float32 (H, W)."""
        row = self.rows.get(journey["journey_id"])
        if row is None:
            raise ImageError("a journey must have a counterfactual", found="none")
        if not 0 <= int(row.get("index", -1)) < len(self.pixels):
            raise ImageError("a sample must have a row in the array", found="an index outside it")
        image = np.array(self.pixels[int(row["index"])], np.float32)
        forget_pages(self.pixels)
        return image

    def description(self, journey: Mapping[str, Any]) -> str:
        """The progression description that the image was made with."""
        return str(self.rows[journey["journey_id"]].get("progression_description", ""))

    def descriptions(self) -> dict[str, str]:
        """The progression description of each journey."""
        return {journey: str(row.get("progression_description", "")) for journey, row in self.rows.items()}

    def journey_ids(self) -> set[str]:
        """The journeys that the folder names."""
        return set(self.rows)

    def provenance(self) -> dict[str, Any]:
        """The entries that all samples share, such as the model's hash and the guidance scales."""
        lines = list(self.rows.values())
        shared = {key: value for key, value in lines[0].items() if all(line.get(key) == value for line in lines)}
        own = ("journey_id", "file", "index", "seed", "progression_description", "Comment")
        return {key: value for key, value in shared.items() if key not in own}


@dataclass(frozen=True)
class FolderOfImages:
    """Another system's images, named by journey: `j000012.png`, in any format that `load_radiograph` reads."""

    name: str
    folder: Path
    size: int = 128
    meaning: str = "Images of another system, from a folder."

    def image(self, journey: Mapping[str, Any]) -> np.ndarray:
        """The folder's image of a journey, float32 (size, size)."""
        found = sorted(self.folder.glob(f"{journey['journey_id']}.*"))
        if not found:
            raise ImageError("a journey must have an image in the folder", found="none")
        return load_radiograph(found[0], size=self.size)

    def journey_ids(self) -> set[str]:
        """The journeys that the folder's pictures are named by, whether they exist or not."""
        return {path.stem for path in self.folder.iterdir() if path.suffix.lower() in PICTURES}


def forget_pages(pixels: np.ndarray) -> None:
    """Release the pages of a memory-mapped array, which otherwise stay in memory once they have been read."""
    mapping = getattr(pixels, "_mmap", None)
    if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def read_counterfactuals(folder: str | Path) -> Counterfactuals | None:
    """Open the folder of `biomedjourney sample`; None where there is none.

    Of several samples of one journey the first counts.

    Raises:
        TableError: if one of its two files is missing or unreadable.
    """
    folder = Path(folder)
    if not (folder / SAMPLES_TABLE).exists() and not (folder / SAMPLES_ARRAY).exists():
        return None
    lines = read_json_lines(folder / SAMPLES_TABLE, made_by="sample")
    try:
        pixels = np.load(folder / SAMPLES_ARRAY, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise TableError(
            f"{folder / SAMPLES_ARRAY} must be an array of images",
            found=type(error).__name__,
            action="Run `biomedjourney sample` again",
        ) from error
    if pixels.ndim != 3 or not np.issubdtype(pixels.dtype, np.floating):
        raise TableError(
            f"{folder / SAMPLES_ARRAY} must hold floats of shape (N, H, W)",
            found=f"{pixels.dtype} {pixels.shape}",
            action="Run `biomedjourney sample` again",
        )
    if any("journey_id" not in line or "index" not in line for line in lines):
        raise TableError(
            f"each line of {folder / SAMPLES_TABLE} must name journey_id and index", found="a line without them"
        )
    return Counterfactuals({line["journey_id"]: line for line in reversed(lines)}, pixels)


def read_system(name: str, folder: str | Path, *, size: int) -> System:
    """Open another system's folder: one that `biomedjourney sample --system` wrote, or pictures named by journey.

    `size` is the side in pixels that pictures are read at; an array of samples keeps its size.

    Raises:
        TableError: as `read_counterfactuals`.
    """
    samples = read_counterfactuals(folder)
    if samples is None:
        return FolderOfImages(name, Path(folder), size)
    return replace(samples, name=name, meaning=f"Images of {name}, made by `biomedjourney sample --system`.")


def read_baselines(work: Path, *, size: int) -> list[System]:
    """Open every folder in baselines/ of the working folder, in order of name."""
    folder = Path(work) / BASELINES_FOLDER
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return [read_system(name, folder / name, size=size) for name in names]


def read_picture(work: Path, relative: str) -> np.ndarray:
    """Read a picture of the working folder: float32 in [0, 1], shape (H, W)."""
    return read_png(work / relative)


@dataclass(frozen=True)
class CopyPrior:
    """The prior image unchanged: full retention, no change."""

    work: Path
    name: str = "copy-prior"
    meaning: str = "The prior image, unchanged. It keeps everything of the patient and shows none of the change."

    def image(self, journey: Mapping[str, Any]) -> np.ndarray:
        """The prior image."""
        return read_picture(self.work, journey["prior_image"])


@dataclass(frozen=True)
class RealReference:
    """The patient's real next image, registered onto the prior."""

    work: Path
    name: str = "real reference"
    meaning: str = "The patient's real next image: what the judges say of the truth, the ceiling for the findings."

    def image(self, journey: Mapping[str, Any]) -> np.ndarray:
        """The registered new image."""
        return read_picture(self.work, journey["new_image"])
