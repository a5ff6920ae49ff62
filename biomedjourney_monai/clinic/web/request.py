"""Requests of the web page. What a browser sends is not trusted until it is parsed into a `PageRequest`."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from biomedjourney_monai.clinic.web.uploads import LimitError
from biomedjourney_monai.errors import BiomedJourneyError

MAX_STEPS, MAX_SAMPLES, MAX_SCALE = 100, 16, 20.0
MAX_DESCRIPTION = 1000
"""Characters; the text encoder's limit is lower, and it warns."""

MAX_PIXELS = 64_000_000
"""Of all samples of a request together, at the prior's size: they are held in memory and sent back."""

MAX_SETTINGS_BYTES = 16384
EVERYWHERE, AUTO, BOX = "everywhere", "auto", "box"
Box = tuple[float, float, float, float]


class RequestError(BiomedJourneyError):
    """A request that the page's own form does not send."""


@dataclass(frozen=True)
class PageRequest:
    """One request for counterfactuals.

    Attributes:
        description: how the disease progresses.
        seed: of the first sample's noise.
        steps: denoising steps.
        samples: number of samples, with consecutive seeds from `seed` on.
        text_guidance_scale: pull toward the description.
        image_guidance_scale: pull toward the prior image.
        region: "everywhere", "auto" or "box".
        box: left, top, right, bottom as shares of the image's width and height; for "box" only.
        force: overrule refusals of prior and description.
        verbatim: give the text encoder the description as it is.
    """

    description: str = field(repr=False)
    seed: int
    steps: int
    samples: int
    text_guidance_scale: float
    image_guidance_scale: float
    region: str = EVERYWHERE
    box: Box | None = None
    force: bool = False
    verbatim: bool = False

    def check_amount(self, hw: tuple[int, int]) -> None:
        """Raise a LimitError for more pixels than fit into memory, for a prior of height and width `hw`."""
        height, width = hw
        if self.samples * height * width > MAX_PIXELS:
            rule = f"the samples of a request must have at most {MAX_PIXELS:,} pixels together"
            action = f"Ask for {max(1, MAX_PIXELS // (height * width))} at most"
            raise LimitError(rule, found=f"{self.samples} of {width:,} × {height:,}", action=action)

    def region_in(self, hw: tuple[int, int]) -> np.ndarray | str | None:
        """None, "auto", or the box as a mask of the prior's height and width `hw`, float32 (H, W): 1 inside."""
        if self.box is None:
            return AUTO if self.region == AUTO else None
        left, top, right, bottom = self.box
        mask = np.zeros(hw, np.float32)
        mask[round(top * hw[0]) : round(bottom * hw[0]), round(left * hw[1]) : round(right * hw[1])] = 1
        return mask


def parse_request(data: bytes) -> PageRequest:
    """Read a request from JSON.

    Raises:
        RequestError: naming the field, but never the description.
    """
    try:
        content = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RequestError("a request must be JSON", found=type(error).__name__) from error
    if not isinstance(content, dict):
        raise RequestError("a request must be a JSON object", found=type(content).__name__)
    description = content.get("description")
    if not isinstance(description, str) or len(description) > MAX_DESCRIPTION:
        found = f"{len(description)}" if isinstance(description, str) else type(description).__name__
        raise RequestError(f"a description must be a text of at most {MAX_DESCRIPTION} characters", found=found)
    region = content.get("region", EVERYWHERE)
    if region not in (EVERYWHERE, AUTO, BOX):
        raise RequestError(f"region must be {EVERYWHERE}, {AUTO} or {BOX}", found=_shown(region))
    return PageRequest(
        description=" ".join(description.split()),
        seed=_whole(content, "seed", 0, 2**53 - 1),  # the largest exact integer of a browser
        steps=_whole(content, "steps", 1, MAX_STEPS),
        samples=_whole(content, "samples", 1, MAX_SAMPLES),
        text_guidance_scale=_number(content, "text_guidance_scale"),
        image_guidance_scale=_number(content, "image_guidance_scale"),
        region=region,
        box=_box(content) if region == BOX else None,
        force=content.get("force") is True,
        verbatim=content.get("verbatim") is True,
    )


def _whole(content: Mapping[str, Any], name: str, lowest: int, highest: int) -> int:
    value = content.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise RequestError(f"{name} must be a whole number from {lowest} to {highest:,}", found=_shown(value))
    return value


def _number(content: Mapping[str, Any], name: str) -> float:
    value = content.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_SCALE:  # no NaN either
        raise RequestError(f"{name} must be a number from 0 to {MAX_SCALE:g}", found=_shown(value))
    return float(value)


def _shown(value: object) -> str:
    """A number as it is; of anything else the kind, since a text may be about a patient."""
    return str(value)[:20] if isinstance(value, (int, float)) else type(value).__name__


def _box(content: Mapping[str, Any]) -> Box:
    value = content.get("box")
    rule, action = "a box must be four numbers", "Draw it on the prior image"
    if not isinstance(value, list) or len(value) != 4:
        found = f"{len(value)} entries" if isinstance(value, list) else type(value).__name__
        raise RequestError(rule, found=found, action=action)
    if not all(isinstance(side, (int, float)) and math.isfinite(side) for side in value):
        raise RequestError(rule, found="an entry that is not a finite number", action=action)
    left, top, right, bottom = (min(max(float(side), 0.0), 1.0) for side in value)
    if right - left < 0.01 or bottom - top < 0.01:
        found = f"{right - left:.3f} × {bottom - top:.3f}"
        raise RequestError("a box must be at least 0.01 wide and high", found=found, action=action)
    return left, top, right, bottom
