"""Load the judges of an evaluation again for contours and heat maps, if the weights are the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.evaluation.judges.loading import JUDGES, XRV, load_judges
from biomedjourney_monai.evaluation.judges.scores import Judges


def reopen_judges(metrics: Mapping[str, Any], folder: Path | None) -> tuple[Judges | None, str]:
    """Load the judges that made metrics.json; or None, and why the page has no contours and heat maps."""
    name = str(metrics["judges"].get("name", ""))
    kind, trained_on = (XRV, name.split()[-1]) if name.startswith("torchxrayvision") else (name, "chex")
    if folder is None:
        return None, "no folder of the judges' weights was given (--judge-weights)"
    if kind not in JUDGES:
        return None, "the evaluation's judges are unknown here"
    try:
        judges = load_judges(folder, kind=kind, trained_on=trained_on)
    except WeightsError:
        return None, "the judges' weights are not in the folder given"
    if judges.provenance() != dict(metrics["judges"]):
        return None, "the judges' weights in the folder are not those of the evaluation"
    return judges, ""
