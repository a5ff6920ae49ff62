"""Checks of the sections of an ablation's settings file."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from biomedjourney_monai.configuration import unknown_key
from biomedjourney_monai.errors import ConfigError

DECIDED_BY_THE_ABLATION = (
    "stage",
    "resume",
    "seed",
    "epoch_length",
    "max_epochs",
    "pretrain_epochs",
    "finetune_epochs",
)
"""Settings of train.yaml that the ablation decides, so that every cell has the same budget."""


def checked(content: Any, known: Collection[str], where: str, *, needed: Sequence[str] = ()) -> dict[str, Any]:
    """The settings, if they are a mapping of known names with those that are needed.

    Raises:
        ConfigError: names what is unknown or missing.
    """
    if not isinstance(content, dict):
        raise ConfigError(f"{where} must hold settings by name", found=type(content).__name__)
    for key in content:
        if key not in known:
            raise unknown_key(str(key), known)
    missing = [key for key in needed if key not in content]
    if missing:
        raise ConfigError(
            f"{where} must have {', '.join(missing)}", found=", ".join(map(str, content)) or "no settings"
        )
    return content


def mapping(content: Mapping[str, Any], key: str, *, where: str = "") -> dict[str, Any]:
    """The settings of a section; {} if it is absent or empty.

    Raises:
        ConfigError: if the section holds something else.
    """
    value = content.get(key) or {}
    if not isinstance(value, dict):
        raise ConfigError(f"{where}{key} must hold settings by name", found=type(value).__name__)
    return dict(value)


def refuse_decided_settings(settings: Mapping[str, Any], where: str) -> None:
    """Refuse overrides of train.yaml that would give cells different budgets or other data.

    Raises:
        ConfigError: names the override.
    """
    for key in settings:
        if key in DECIDED_BY_THE_ABLATION or key.endswith(("_dir", "_file")) or key == "start_from":
            raise ConfigError(f"{where} must leave {key} to the ablation", found=str(settings[key]))
