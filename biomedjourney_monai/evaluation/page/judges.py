"""The judges of an evaluation once more, to draw what they see: the same weights or none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.evaluation.judges.loading import Judges, choose_judges


def reopen_judges(metrics: Mapping[str, Any], folder: Path | None) -> tuple[Judges | None, str]:
    """Load the judges that made metrics.json.

    Args:
        metrics: content of metrics.json.
        folder: of their weights.

    Returns:
        The judges, or None and why contours and heat maps are missing from the page.
    """
    name = str(metrics["judges"].get("name", ""))
    kind, trained_on = ("xrv", name.split()[-1]) if name.startswith("torchxrayvision") else (name, "chex")
    if folder is None:
        return None, "no folder of the judges' weights was given (--judge-weights)"
    if kind not in ("phantom", "xrv"):
        return None, "the evaluation's judges are unknown here"
    try:
        judges = choose_judges(kind, folder, trained_on=trained_on)
    except WeightsError:
        return None, "the judges' weights are not in the folder given"
    if judges.provenance() != dict(metrics["judges"]):
        return None, "the judges' weights in the folder are not those of the evaluation"
    return judges, ""
