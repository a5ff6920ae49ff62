"""A student of few steps: its guidance scales are inputs, and it knows certain numbers of steps only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from biomedjourney_monai.errors import ConfigError, SettingError
from biomedjourney_monai.networks.weights.geometry import GEOMETRY_KEY
from biomedjourney_monai.networks.weights.model_file import load_info

DISTILLED_KEY = "distilled"
"""In the geometry of a denoiser: what its student was trained for; absent from a teacher's."""
HIDDEN = 64
RANGES = ("text_guidance_scale", "image_guidance_scale")
DEFAULTS = (*RANGES, "keep_unchanged")


@dataclass(frozen=True)
class Distilled:
    """What a student was trained for.

    Attributes:
        steps: numbers of denoising steps; the first is the default.
        text_guidance_scale, image_guidance_scale: lowest and highest.
        defaults: settings of sampling that suit the student, laid over the configuration's; some of `DEFAULTS`.

    Raises:
        ConfigError: if a range is empty, a number of steps is below 1, or a default is unknown or out of its range.
    """

    steps: tuple[int, ...]
    text_guidance_scale: tuple[float, float]
    image_guidance_scale: tuple[float, float]
    defaults: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        for name in RANGES:
            limits = tuple(getattr(self, name))
            object.__setattr__(self, name, limits)
            if not (len(limits) == 2 and limits[0] < limits[1]):
                raise ConfigError(f"distilled#{name} must be two rising numbers", found=str(list(limits)))
        if not self.steps or min(self.steps) < 1:
            raise ConfigError("distilled#steps must be numbers of at least 1", found=str(list(self.steps)))
        for name, value in self.defaults.items():
            low, high = getattr(self, name) if name in RANGES else (0.0, 1.0)
            if name not in DEFAULTS or not low <= value <= high:
                rule = f"distilled#defaults must be some of {', '.join(DEFAULTS)}, within their ranges"
                raise ConfigError(rule, found=f"{name} {value}")

    @property
    def sampling(self) -> dict[str, float]:
        """The settings of sampling that the student brings: steps, and its defaults."""
        return {"steps": self.steps[0], **self.defaults}

    @classmethod
    def in_file(cls, model_file: str | Path) -> Distilled | None:
        """What the student in a model file was trained for; None for a teacher, or if there is no such file.

        Raises:
            WeightsError: if the file cannot be read.
        """
        return cls.of(load_info(model_file) if Path(model_file).is_file() else {})

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Distilled | None:
        """The same of the facts of a model file."""
        stated = info.get(GEOMETRY_KEY, {}).get("denoiser", {}).get(DISTILLED_KEY)
        return None if stated is None else cls(**stated)

    def facts(self) -> dict[str, Any]:
        """As JSON content."""
        facts: dict[str, Any] = {name: list(getattr(self, name)) for name in ("steps", *RANGES)}
        return facts | ({"defaults": dict(self.defaults)} if self.defaults else {})

    def check(self, settings: Mapping[str, Any]) -> None:
        """Refuse settings of sampling that the student was not trained for; absent ones and None are the defaults.

        Raises:
            SettingError: naming the setting, what the student takes, and the value found.
        """

        def refuse(name: str, rule: str) -> None:
            raise SettingError(name, f"must be {rule} for this student of few steps", found=str(settings[name]))

        if settings.get("steps") is not None and settings["steps"] not in self.steps:
            refuse("steps", f"one of {', '.join(map(str, sorted(self.steps)))}")
        for name in RANGES:
            low, high = getattr(self, name)
            if settings.get(name) is not None and not low <= settings[name] <= high:
                refuse(name, f"in [{low:g}, {high:g}]")
        only = {"solver": "ddim", "guidance_interval": (0.0, 1.0), "init_noise": "random"}
        for name, value in only.items():
            given = settings.get(name)
            if given is not None and (tuple(given) if isinstance(given, list) else given) != value:
                refuse(name, "0 1" if isinstance(value, tuple) else str(value))

    def scales(self, batch: int, *, text_scale: float | Tensor, image_scale: float | Tensor) -> Tensor:
        """The student's input, shape (batch, 2), from numbers or from tensors of `batch` elements."""
        columns = (torch.as_tensor(scale).reshape(-1).expand(batch) for scale in (text_scale, image_scale))
        return torch.stack([column.float() for column in columns], dim=1)


class ScaleEmbedding(nn.Module):
    """Guidance scales, shape (B, 2), text first, to what is added to the timestep's embedding, shape (B, width).

    The last map starts at zero, so that a student starts as its teacher without guidance.

    Args:
        distilled: the ranges of the scales.
        width: of the timestep's embedding.
    """

    def __init__(self, distilled: Distilled, width: int) -> None:
        super().__init__()
        self.ranges = distilled.text_guidance_scale, distilled.image_guidance_scale
        self.map = nn.Sequential(nn.Linear(2, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, width))
        with torch.no_grad():
            for value in self.map[2].parameters():
                value.zero_()

    def forward(self, scales: Tensor) -> Tensor:
        """Scale each range to [-1, 1] and embed."""
        low, high = (scales.new_tensor([limits[end] for limits in self.ranges]) for end in (0, 1))
        embedded: Tensor = self.map(2 * (scales - low) / (high - low) - 1)
        return embedded
