"""Counterfactual chest radiographs from a prior image and a progression description.

    import biomedjourney_monai as bj

    model = bj.load_model()
    result = model.generate("chest.dcm", "New large left pleural effusion.", seed=0)
    result.save("counterfactual.png")

Importing the package is light: each name is loaded at its first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_MODULES = {
    "diffusion.settings": ("SamplingSettings",),
    "errors": ("BiomedJourneyError", "ConfigError", "ImageError", "SettingError", "TableError", "WeightsError"),
    "evaluation.judges.loading": ("load_judges",),
    "generation.model": ("CounterfactualModel", "load_model"),
    "generation.prior": ("Prior",),
    "generation.request": ("Request",),
    "generation.result": ("Result",),
    "model_config": ("ModelConfig",),
    "radiographs.loading": ("load_radiograph",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    """Load a public name at its first use.

    Raises:
        AttributeError: for another name.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
