"""What a request to the web page may ask for, and what is to be said about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from biomedjourney_monai.cli.counterfactual_maker import Prior
    from biomedjourney_monai.clinic.web.request import PageRequest
    from biomedjourney_monai.clinic.web.uploads import Upload

MAX_MADE_PIXELS = 64_000_000
"""Of all samples of a request together, at the prior's size: so many are held in memory and sent back."""

SEEN = 0.5
"""Probability above which a judge counts as seeing a finding."""


def check_amount(samples: int, hw: tuple[int, int]) -> None:
    """Refuse to make more than is to be held in memory.

    Raises:
        LimitError: with what was asked for.
    """
    from biomedjourney_monai.clinic.web.uploads import LimitError

    height, width = hw
    if samples * height * width > MAX_MADE_PIXELS:
        raise LimitError(
            f"the samples of a request must have at most {MAX_MADE_PIXELS:,} pixels together",
            found=f"{samples} of {width:,} × {height:,}",
            action=f"Ask for {max(1, MAX_MADE_PIXELS // (height * width))} at most",
        )


def region_of(request: PageRequest, prior: Prior, size: int) -> Any:
    """None, "auto" or the mask of the box, as `sample --region` reads a mask of the prior's size."""
    from biomedjourney_monai.clinic.web.request import AUTO, BOX
    from biomedjourney_monai.generation.region import mask_region

    if request.region == AUTO:
        return AUTO
    if request.region != BOX:
        return None
    return mask_region(box_mask(request.box, prior.original_hw), size=size)


def box_mask(box: tuple[float, float, float, float], hw: tuple[int, int]) -> np.ndarray:
    """A box as a mask of the prior's size, float32 (H, W): 1 inside."""
    import numpy as np

    height, width = hw
    left, top, right, bottom = box
    mask = np.zeros(hw, np.float32)
    mask[round(top * height) : round(bottom * height), round(left * width) : round(right * width)] = 1
    return mask


def prior_warnings(upload: Upload) -> list[str]:
    """What is to be said of a prior that is taken."""
    warnings = []
    if upload.is_synthetic or upload.is_marked:
        warnings.append(
            "This prior says that it is synthetic itself: its counterfactual is twice removed from a patient."
        )
    if upload.has_burned_in_text:
        warnings.append("This prior says that text is burned into it: the counterfactual may show it.")
    if min(upload.original_hw) < 128:
        warnings.append("This prior is very small: little of a chest can be told from it.")
    return warnings


def unmet(description: str, findings: list[dict[str, Any]]) -> list[str]:
    """Where the judge does not see what was asked for."""
    from biomedjourney_monai.preparation.reports.statements import read_statements

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
