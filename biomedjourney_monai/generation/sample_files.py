"""The files beside a picture: the region's map, and mean, spread and the judges' agreement of several samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biomedjourney_monai.files import write_json
from biomedjourney_monai.generation.result import Result, finished_picture
from biomedjourney_monai.generation.writer import beside
from biomedjourney_monai.radiographs import restore
from biomedjourney_monai.radiographs.pictures.maps import overlay_map
from biomedjourney_monai.radiographs.write.png import png_bytes, save_bytes


@dataclass(frozen=True)
class MapFile:
    """A picture beside the counterfactual: its word in the file's name, and the PNG's bytes."""

    word: str
    content: bytes


def map_files(result: Result) -> list[MapFile]:
    """The region's map, if change was confined, and mean and standard deviation, if there are several samples."""
    files = []
    if result.region is not None:
        files.append(MapFile("region", png_bytes(region_picture(result), metadata=result.documents[0])))
    if len(result.squares) > 1:
        spread, hw = result.spread, result.prior.original_hw
        mean = png_bytes(finished_picture(spread.mean, result.prior), metadata=result.metadata)
        highest = float(spread.deviation.max())
        picture = overlay_map(
            restore(spread.mean, hw),
            restore(spread.deviation, hw),
            highest=highest,
            caption=f"standard deviation of {len(result.squares)} samples: 0 to {highest:.2f}",
        )
        facts = {**result.metadata, "highest_deviation": f"{highest:.4f}"}
        files += [MapFile("mean", mean), MapFile("sigma", png_bytes(picture, metadata=facts))]
    return files


def region_picture(result: Result) -> np.ndarray:
    """The relevance map, or the mask, in colour over the prior, uint8, shape (H + caption, W, 3).

    Raises:
        ValueError: if change was allowed everywhere.
    """
    if result.region is None:
        raise ValueError("there must be a region")
    shown, caption = result.region, "region: change is allowed where coloured"
    if result.relevance is not None:
        shown, caption = result.relevance * (result.region > 0), "relevance of the description: 0 to highest"
    hw = result.prior.original_hw
    return overlay_map(restore(result.prior.image, hw), restore(shown, hw), highest=1.0, caption=caption)


def save_beside(out: str | Path, result: Result) -> list[Path]:
    """Write `map_files` beside a picture: NAME-region.png, NAME-mean.png, NAME-sigma.png."""
    files = []
    for file in map_files(result):
        files.append(beside(out, file.word))
        save_bytes(files[-1], file.content)
    return files


def save_agreement(
    out: str | Path, result: Result, *, findings: Mapping[str, Mapping[str, float]], judges: Mapping[str, Any]
) -> Path:
    """Write how far the judges agree over several samples, as NAME-samples.json.

    Args:
        out: the picture.
        result: of several samples.
        findings: of `evaluation.judges.agreement.agreement_of`.
        judges: the judges' provenance.
    """
    file = Path(out).with_name(f"{Path(out).stem}-samples.json")
    deviation = round(float(result.spread.deviation.mean()), 5)
    write_json(file, {**result.metadata, "judges": judges, "findings": findings, "mean_deviation": deviation})
    return file
