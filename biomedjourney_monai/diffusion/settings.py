"""Settings of sampling, validated in one class for the command line, the web page, the bundle and the API."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from biomedjourney_monai.errors import SettingError, refuse_unknown_keywords

SOLVERS = ("ddim", "dpm++", "unipc")
RANDOM, FROM_PRIOR = "random", "from-prior"
INIT_NOISE = (RANDOM, FROM_PRIOR)
MAX_STEPS = 1000
MAX_AVERAGE = 64


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How counterfactuals are sampled. None takes the value of the model's configuration.

    Attributes:
        steps: denoising steps, in [1, 1000].
        solver: one of `SOLVERS`.
        text_guidance_scale: pull toward the description, finite; 1 adds nothing to the condition itself.
        image_guidance_scale: pull toward the prior image, finite.
        guidance_interval: guide only between these two noise levels, rising, in [0, 1]; 0 is clean, 1 is noise. Other
            steps use the prediction with both conditions, at a third of the cost.
        keep_unchanged: grey value in [0, 1]; where the picture changed by less, the prior's pixels are kept; 0 keeps
            none. See `networks.unchanged`.
        strength: share of the noise to start from, in (0, 1]. At 1 sampling starts from noise; below 1 from the prior
            under noise, and only the later steps are made.
        init_noise: "random" takes the seed's noise, "from-prior" inverts the prior without the description.
        average: the counterfactual is the mean over this many noises, of which the seed's is the first, in [1, 64].

    Raises:
        SettingError: naming the setting, its range and the value found.

    Example:
        >>> SamplingSettings(steps=0)
        Traceback (most recent call last):
        ...
        biomedjourney_monai.errors.SettingError: steps must be in [1, 1000]; found 0.
    """

    steps: int | None = None
    solver: str | None = None
    text_guidance_scale: float | None = None
    image_guidance_scale: float | None = None
    guidance_interval: tuple[float, float] | None = None
    keep_unchanged: float | None = None
    strength: float = 1.0
    init_noise: str = RANDOM
    average: int | None = None

    def __post_init__(self) -> None:
        _require_number("steps", self.steps, whole=True)
        if self.steps is not None and not 1 <= self.steps <= MAX_STEPS:
            raise SettingError("steps", f"must be in [1, {MAX_STEPS}]", found=str(self.steps))
        _require_number("average", self.average, whole=True)
        if self.average is not None and not 1 <= self.average <= MAX_AVERAGE:
            raise SettingError("average", f"must be in [1, {MAX_AVERAGE}]", found=str(self.average))
        _require_choice("solver", self.solver, SOLVERS)
        for name in ("text_guidance_scale", "image_guidance_scale"):
            scale = getattr(self, name)
            _require_number(name, scale)
            if scale is not None and not math.isfinite(scale):
                raise SettingError(name, "must be a finite number", found=str(scale))
        if self.guidance_interval is not None:
            object.__setattr__(self, "guidance_interval", _check_interval(self.guidance_interval))
        _require_number("keep_unchanged", self.keep_unchanged)
        if self.keep_unchanged is not None and not 0 <= self.keep_unchanged <= 1:
            raise SettingError("keep_unchanged", "must be in [0, 1]", found=f"{self.keep_unchanged:g}")
        _require_number("strength", self.strength)
        if not 0 < self.strength <= 1:
            raise SettingError("strength", "must be in (0, 1]", found=str(self.strength))
        _require_choice("init_noise", self.init_noise, INIT_NOISE)

    def given(self) -> dict[str, Any]:
        """The settings that are not None."""
        return {name: getattr(self, name) for name in self.names() if getattr(self, name) is not None}

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all settings."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> SamplingSettings:
        """Take the settings out of a mapping that may hold other entries too."""
        return cls(**{name: values[name] for name in cls.names() if name in values})


SamplingSettings.__init__ = refuse_unknown_keywords(SamplingSettings.__init__)  # type: ignore[method-assign]


def _check_interval(interval: Any) -> tuple[float, float]:
    rule = "must be two rising numbers in [0, 1]"
    try:
        low, high = (float(level) for level in interval)
    except (TypeError, ValueError) as error:
        raise SettingError("guidance_interval", rule, found=type(interval).__name__) from error
    if not 0 <= low < high <= 1:
        raise SettingError("guidance_interval", rule, found=f"{low:g} {high:g}")
    return low, high


def check_seed(seed: Any) -> int:
    """A non-negative 64-bit integer.

    Raises:
        SettingError: if it is not.
    """
    _require_number("seed", seed, whole=True)
    if not 0 <= seed < 2**63:
        raise SettingError("seed", "must be a non-negative 64-bit integer", found=str(seed))
    return int(seed)


def _require_number(name: str, value: Any, *, whole: bool = False) -> None:
    kinds: tuple[type, ...] = (int,) if whole else (int, float)
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
        raise SettingError(name, f"must be {'an integer' if whole else 'a number'}", found=type(value).__name__)


def _require_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise SettingError(name, f"must be one of {', '.join(choices)}", found=repr(value)[:40])
