"""What a web page asks for, checked: whatever a browser sends is hostile until it is one of these."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from biomedjourney_monai.errors import BiomedJourneyError

MAX_STEPS, MAX_SAMPLES, MAX_SCALE = 100, 16, 20.0
MAX_DESCRIPTION = 1000
"""Characters; the text encoder reads far less, and says so."""

MAX_SETTINGS_BYTES = 16384
EVERYWHERE, AUTO, BOX = "everywhere", "auto", "box"
Box = tuple[float, float, float, float]


class RequestError(BiomedJourneyError):
    """A request that the page's own form does not send."""


@dataclass(frozen=True)
class PageRequest:
    """One request for counterfactuals.

    Attributes:
        description: how the disease goes on.
        seed: of the first sample's noise.
        steps: denoising steps.
        samples: how many, with the seeds from `seed` on.
        text_guidance_scale: pull toward the description.
        image_guidance_scale: pull toward the prior image.
        region: "everywhere", "auto" or "box".
        box: left, top, right, bottom as shares of the image's width and height; for "box" only.
        force: overrule refusals of prior and description.
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


def parse_request(data: bytes) -> PageRequest:
    """Read a request from JSON.

    Raises:
        RequestError: naming the field, never its content.
    """
    try:
        content = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RequestError("a request must be JSON", found=type(error).__name__) from error
    if not isinstance(content, dict):
        raise RequestError("a request must be a JSON object", found=type(content).__name__)
    description = content.get("description")
    if not isinstance(description, str) or len(description) > MAX_DESCRIPTION:
        raise RequestError(f"a description must be a text of at most {MAX_DESCRIPTION} characters", found="another")
    region = content.get("region", EVERYWHERE)
    if region not in (EVERYWHERE, AUTO, BOX):
        raise RequestError(f"region must be {EVERYWHERE}, {AUTO} or {BOX}", found="another word")
    return PageRequest(
        description=" ".join(description.split()),
        seed=_whole(content, "seed", 0, 2**53 - 1),  # as far as a browser counts
        steps=_whole(content, "steps", 1, MAX_STEPS),
        samples=_whole(content, "samples", 1, MAX_SAMPLES),
        text_guidance_scale=_number(content, "text_guidance_scale"),
        image_guidance_scale=_number(content, "image_guidance_scale"),
        region=region,
        box=_box(content) if region == BOX else None,
        force=content.get("force") is True,
    )


def _whole(content: Mapping[str, Any], name: str, lowest: int, highest: int) -> int:
    value = content.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise RequestError(f"{name} must be a whole number from {lowest} to {highest:,}", found="another")
    return value


def _number(content: Mapping[str, Any], name: str) -> float:
    value = content.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_SCALE:  # no NaN either
        raise RequestError(f"{name} must be a number from 0 to {MAX_SCALE:g}", found="another")
    return float(value)


def _box(content: Mapping[str, Any]) -> Box:
    value = content.get("box")
    if not isinstance(value, list) or len(value) != 4:
        raise RequestError("a box must be four numbers", found="none", action="Draw it on the prior image")
    if not all(isinstance(side, (int, float)) and math.isfinite(side) for side in value):
        raise RequestError("a box must be four numbers", found="others")
    left, top, right, bottom = (min(max(float(side), 0.0), 1.0) for side in value)
    if right - left < 0.01 or bottom - top < 0.01:
        raise RequestError("a box must have a size", found="none to speak of", action="Draw it on the prior image")
    return left, top, right, bottom
