"""Load judges: those of rendered radiographs, which are shipped, or torchxrayvision's for clinical ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from biomedjourney_monai.configuration import locate_root
from biomedjourney_monai.errors import ConfigError, WeightsError
from biomedjourney_monai.evaluation.judges.clinical import load_clinical_judges
from biomedjourney_monai.evaluation.judges.phantom import load_phantom_judges
from biomedjourney_monai.evaluation.judges.scores import Judges

PHANTOM, XRV = JUDGES = ("phantom", "xrv")


def load_judges(
    folder: str | Path | None = None,
    *,
    kind: str = PHANTOM,
    trained_on: str = "chex",
    device: str | torch.device = "cpu",
) -> Judges:
    """Load judges from a folder of weights. Nothing is downloaded.

    Args:
        folder: the weights; None for the bundle's `models/`, which has those of the phantom judges.
        kind: "phantom" for rendered radiographs, "xrv" for clinical ones.
        trained_on: with "xrv", the data that the classifier was trained on: "chex", "nih", "pc" or "all".
        device: where the networks run.

    Raises:
        ConfigError: for another kind, or "xrv" without a folder.
        WeightsError: if weights are missing or do not fit.
    """
    if kind not in JUDGES:
        raise ConfigError(f"judges must be one of {', '.join(JUDGES)}", found=str(kind))
    if kind == PHANTOM:
        return load_phantom_judges(folder or Path(locate_root()) / "models", device=device)
    if folder is None:
        raise ConfigError("--judges xrv needs a folder of weights", found="none", action="Pass --judge-weights DIR")
    return load_clinical_judges(folder, trained_on=trained_on, device=device)


def reload_judges(provenance: Mapping[str, Any], folder: Path) -> tuple[Judges | None, str]:
    """Load the judges of this provenance; or None, and why the folder does not have them."""
    name = str(provenance.get("name", ""))
    kind, trained_on = (XRV, name.split()[-1]) if name.startswith("torchxrayvision") else (name, "chex")
    if kind not in JUDGES:
        return None, "the evaluation's judges are unknown here"
    try:
        judges = load_judges(folder, kind=kind, trained_on=trained_on)
    except WeightsError:
        return None, "the judges' weights are not in the folder given"
    if judges.provenance() != dict(provenance):
        return None, "the judges' weights in the folder are not those of the evaluation"
    return judges, ""
