"""Files next to a picture: the region's map; mean, standard deviation and the judges' agreement of several samples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from biomedjourney_monai.files import write_json
from biomedjourney_monai.generation.finish import full_size_prior
from biomedjourney_monai.generation.result import Result
from biomedjourney_monai.generation.writer import beside, sample_names
from biomedjourney_monai.radiographs import mark_synthetic, restore
from biomedjourney_monai.radiographs.pictures.maps import overlay_map
from biomedjourney_monai.radiographs.write.png import png_bytes, save_bytes


def output_names(out: str | Path, *, samples: int, has_region: bool) -> list[Path]:
    """Every file that is written for a request with this `out`."""
    words = ["region"] * has_region + ["mean", "sigma"] * (samples > 1)
    scores = [beside(out, "samples", suffix=".json")] * (samples > 1)
    return [*sample_names(out, samples), *(beside(out, word) for word in words), *scores]


def map_files(result: Result) -> dict[str, bytes]:
    """PNG files by the word in their names: "region" if change was confined, "mean" and "sigma" of several samples."""
    files = {}
    if result.region is not None:
        files["region"] = png_bytes(_region_picture(result, result.region), metadata=result.documents[0])
    if len(result.squares) > 1:
        spread, mean = result.spread, result.mean
        files["mean"] = png_bytes(mark_synthetic(mean), metadata=result.metadata)
        highest = float(spread.deviation.max())
        caption = f"standard deviation of {len(result.squares)} samples: 0 to {highest:.2f}"
        picture = overlay_map(mean, result.deviation, highest=highest, caption=caption)
        files["sigma"] = png_bytes(picture, metadata={**result.metadata, "highest_deviation": f"{highest:.4f}"})
    return files


def _region_picture(result: Result, region: np.ndarray) -> np.ndarray:
    """The relevance map, or the mask, in colour over the prior, uint8, shape (H + caption, W, 3)."""
    shown, caption = region, "region: change is allowed where coloured"
    if result.relevance is not None:
        shown, caption = result.relevance * (region > 0), "relevance of the description: 0 to highest"
    hw = result.prior.original_hw
    prior = full_size_prior(result.prior, detail=result.detail)
    return overlay_map(prior, restore(shown, hw), highest=1.0, caption=caption)


def save_beside(out: str | Path, result: Result) -> list[Path]:
    """Write `map_files` next to a picture: NAME-region.png, NAME-mean.png, NAME-sigma.png."""
    files = {beside(out, word): content for word, content in map_files(result).items()}
    for file, content in files.items():
        save_bytes(file, content)
    return list(files)


def save_agreement(
    out: str | Path, result: Result, *, findings: Mapping[str, Mapping[str, float]], judges: Mapping[str, Any]
) -> Path:
    """Write how far the judges agree over several samples, as NAME-samples.json next to a picture.

    `findings` is the result of `evaluation.judges.agreement.agreement_of`, `judges` the judges' provenance;
    both are empty where no judges know the prior.
    """
    file = beside(out, "samples", suffix=".json")
    deviation = round(float(result.spread.deviation.mean()), 5)
    write_json(file, {**result.metadata, "judges": judges, "findings": findings, "mean_deviation": deviation})
    return file
