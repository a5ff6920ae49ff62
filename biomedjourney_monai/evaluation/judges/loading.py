"""Load judges by name or by what fits a working folder: shipped ones, a site's own, or torchxrayvision's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from biomedjourney_monai.configuration import locate_root
from biomedjourney_monai.errors import ConfigError, ImageError, WeightsError
from biomedjourney_monai.evaluation.judges.clinical import load_clinical_judges
from biomedjourney_monai.evaluation.judges.domain import KnowsDomain, nearest_judges
from biomedjourney_monai.evaluation.judges.film_classifier import load_film_judges
from biomedjourney_monai.evaluation.judges.phantom import classifier_file, domain_file, load_phantom_judges
from biomedjourney_monai.evaluation.judges.scores import Judges, on_grid
from biomedjourney_monai.evaluation.systems.sources import read_picture
from biomedjourney_monai.files import read_table
from biomedjourney_monai.schema import PAIRS_FILE

AUTO, PHANTOM, XRV = "auto", "phantom", "xrv"


def load_judges(
    folder: str | Path | None = None,
    *,
    kind: str = PHANTOM,
    trained_on: str = "chex",
    device: str | torch.device = "cpu",
) -> Judges:
    """Load judges from a folder of weights. Nothing is downloaded.

    Args:
        folder: the weights; None for the bundle's `models/`.
        kind: "phantom" for rendered radiographs, the name of judges that `train-judges --work` wrote to the folder, or
            "xrv" for torchxrayvision's.
        trained_on: with "xrv", the data that the classifier was trained on: "chex", "nih", "pc" or "all".
        device: where the networks run.

    Raises:
        ConfigError: for judges that the folder does not have, or "xrv" without a folder.
        WeightsError: if weights are missing or do not fit.
    """
    if kind == XRV:
        if folder is None:
            raise ConfigError("--judges xrv needs a folder of weights", found="none", action="Pass --judge-weights DIR")
        return load_clinical_judges(folder, trained_on=trained_on, device=device)
    models = Path(folder or Path(locate_root()) / "models")
    if kind == PHANTOM:
        return load_phantom_judges(models, device=device)
    if kind not in judge_names(models):
        raise ConfigError(f"judges must be one of {', '.join([*judge_names(models), XRV])}", found=str(kind))
    return load_film_judges(models, kind, device=device)


def judge_names(folder: str | Path) -> list[str]:
    """Names of the judges in a folder that know their domain, and phantom."""
    ending = classifier_file("")
    names = [path.name.removesuffix(ending) for path in Path(folder).glob(f"*{ending}")]
    return [
        PHANTOM,
        *sorted(name for name in names if name != PHANTOM and (Path(folder) / domain_file(name)).is_file()),
    ]


def load_judges_by_name(folder: str | Path, *, device: str | torch.device = "cpu") -> dict[str, KnowsDomain]:
    """Load every judge in a folder that knows its domain, for `domain.judge_for`; {} if there is none.

    Raises:
        WeightsError: if a file is unreadable or does not fit.
    """
    names = [name for name in judge_names(folder) if (Path(folder) / domain_file(name)).is_file()]
    return {
        name: load_phantom_judges(folder, device=device)
        if name == PHANTOM
        else load_film_judges(folder, name, device=device)
        for name in names
    }


def reload_judges(provenance: Mapping[str, Any], folder: Path) -> tuple[Judges | None, str]:
    """Load the judges of this provenance; or None, and why the folder does not have them."""
    name = str(provenance.get("name", ""))
    kind, trained_on = (XRV, name.split()[-1]) if name.startswith("torchxrayvision") else (name, "chex")
    if kind not in (*judge_names(folder), XRV):
        return None, "the evaluation's judges are unknown here"
    try:
        judges = load_judges(folder, kind=kind, trained_on=trained_on)
    except WeightsError:
        return None, "the judges' weights are not in the folder given"
    if judges.provenance() != dict(provenance):
        return None, "the judges' weights in the folder are not those of the evaluation"
    return judges, ""


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
    places = np.unique(np.linspace(0, len(files) - 1, min(LOOKED_AT, len(files))).round().astype(int))
    images: list[torch.Tensor] = []
    for file in files.iloc[places]:
        try:
            image = torch.from_numpy(np.ascontiguousarray(read_picture(work, file), np.float32))[None, None]
        except ImageError:
            continue
        images.append(on_grid(image, images[0].shape[-2:]) if images else image)
    return images
