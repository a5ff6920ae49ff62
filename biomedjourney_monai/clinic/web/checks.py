"""Limits of a request to the web page, its region, and the warnings that the page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from biomedjourney_monai.clinic.web.request import AUTO, BOX, PageRequest
from biomedjourney_monai.clinic.web.uploads import LimitError, Upload
from biomedjourney_monai.preparation.reports.statements import read_statements

MAX_MADE_PIXELS = 64_000_000
"""Of all samples of a request together, at the prior's size: they are held in memory and sent back."""

SEEN = 0.5
"""Probability above which a judge counts as seeing a finding."""


def check_amount(samples: int, hw: tuple[int, int]) -> None:
    """Refuse more pixels than fit into memory.

    Raises:
        LimitError: naming what was asked for.
    """
    height, width = hw
    if samples * height * width > MAX_MADE_PIXELS:
        raise LimitError(
            f"the samples of a request must have at most {MAX_MADE_PIXELS:,} pixels together",
            found=f"{samples} of {width:,} × {height:,}",
            action=f"Ask for {max(1, MAX_MADE_PIXELS // (height * width))} at most",
        )


def region_of(request: PageRequest, hw: tuple[int, int]) -> np.ndarray | str | None:
    """None, "auto", or the box as a mask of the prior's size."""
    if request.region == AUTO:
        return AUTO
    return box_mask(request.box, hw) if request.region == BOX and request.box else None


def box_mask(box: tuple[float, float, float, float], hw: tuple[int, int]) -> np.ndarray:
    """A box as a mask of the prior's size, float32 (H, W): 1 inside."""
    height, width = hw
    left, top, right, bottom = box
    mask = np.zeros(hw, np.float32)
    mask[round(top * height) : round(bottom * height), round(left * width) : round(right * width)] = 1
    return mask


def prior_warnings(upload: Upload) -> list[str]:
    """Warnings for an accepted prior."""
    warnings = []
    if upload.is_synthetic or upload.is_marked:
        warnings.append("This prior is marked as synthetic: its counterfactual is twice removed from a patient.")
    if upload.has_burned_in_text:
        warnings.append("This prior is marked as having burned-in text: the counterfactual may show it.")
    if min(upload.original_hw) < 128:
        warnings.append("This prior is very small: it shows little of a chest.")
    return warnings


def unmet(description: str, findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Warnings where the judge does not see what was asked for."""
    said, warnings = read_statements(description), []
    for row in findings:
        statement = said.get(row["finding"])
        name = row["finding"].lower()
        if statement is None or statement.uncertain:
            continue
        if statement.is_present and row["after"] <= SEEN:
            warnings.append(f"Asked for, but the judge does not see it in the counterfactual: {name}.")
        if not statement.is_present and row["after"] > SEEN:
            warnings.append(f"Asked to be absent, but the judge still sees it in the counterfactual: {name}.")
    return warnings
