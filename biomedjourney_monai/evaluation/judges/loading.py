"""Load judges: those that are shipped or that a site has trained, or torchxrayvision's for clinical radiographs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from biomedjourney_monai.configuration import locate_root
from biomedjourney_monai.errors import ConfigError, WeightsError
from biomedjourney_monai.evaluation.judges.clinical import load_clinical_judges
from biomedjourney_monai.evaluation.judges.domain import KnowsDomain
from biomedjourney_monai.evaluation.judges.films import load_film_judges
from biomedjourney_monai.evaluation.judges.phantom import classifier_file, domain_file, load_phantom_judges
from biomedjourney_monai.evaluation.judges.scores import Judges

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
