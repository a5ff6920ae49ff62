"""Choose the judges of a working folder by its prior images."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch

from biomedjourney_monai.configuration import locate_root
from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.evaluation.judges.domain import nearest_judges
from biomedjourney_monai.evaluation.judges.loading import AUTO, PHANTOM, load_judges, load_judges_by_name
from biomedjourney_monai.evaluation.judges.scores import Judges, on_grid
from biomedjourney_monai.evaluation.systems.sources import read_picture
from biomedjourney_monai.files import read_table
from biomedjourney_monai.schema import PAIRS_FILE

LOOKED_AT = 32
"""Prior images that the choice rests on."""


def choose_judges(
    work: str | Path,
    folder: str | Path | None = None,
    *,
    kind: str = AUTO,
    trained_on: str = "chex",
    device: str | torch.device = "cpu",
) -> tuple[Judges, dict[str, Any]]:
    """Load judges of this kind, or with "auto" those in the folder whose training images are most like the priors.

    Args:
        work: working folder with pairs.parquet and images/.
        folder, kind, trained_on, device: as `load_judges`.

    Returns:
        The judges; and how they were chosen: `chosen`, "auto", "by name" or why there was no choice, and with "auto"
        the priors' median `distance` from the training images, and whether they are `inside` the domain (up to 1).

    Raises:
        ConfigError: as `load_judges`.
        WeightsError: as `load_judges`.
    """
    if kind != AUTO:
        return load_judges(folder, kind=kind, trained_on=trained_on, device=device), {"chosen": "by name"}
    models = Path(folder or Path(locate_root()) / "models")
    known = load_judges_by_name(models, device=device)
    images = _prior_images(Path(work)) if known else []
    if not images:
        reason = "without a prior to go by" if known else "the only ones"
        return load_judges(models, kind=PHANTOM, device=device), {"chosen": reason}
    fit = nearest_judges(known, torch.cat(images))
    return fit.judges, {"chosen": AUTO, "distance": round(fit.distance, 3), "inside": fit.inside}


def _prior_images(work: Path) -> list[torch.Tensor]:
    """Prior images of journeys evenly spaced in the table, each (1, 1, H, W), of the first one's size."""
    if not (work / PAIRS_FILE).is_file():
        return []
    files = read_table(work / PAIRS_FILE, columns=["prior_image"], made_by="register")["prior_image"]
    images: list[torch.Tensor] = []
    for file in _spaced(files):
        try:
            image = torch.from_numpy(np.ascontiguousarray(read_picture(work, file), np.float32))[None, None]
        except ImageError:
            continue
        images.append(on_grid(image, images[0].shape[-2:]) if images else image)
    return images


def _spaced(files: pandas.Series) -> list[str]:
    places = np.unique(np.linspace(0, len(files) - 1, min(LOOKED_AT, len(files))).round().astype(int))
    return [str(files.iloc[place]) for place in places]
