"""What the sections of a study's settings file may hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from biomedjourney_monai.configuration import unknown_key
from biomedjourney_monai.errors import ConfigError

THE_STUDYS_OWN = ("stage", "resume", "seed", "epoch_length", "max_epochs", "pretrain_epochs", "finetune_epochs")
"""Settings of train.yaml that a study decides, so that every cell has the same budget."""


def checked(content: Any, known: Collection[str], where: str, *, needed: Sequence[str] = ()) -> dict[str, Any]:
    """The settings, if they are named ones, all known, with those that are needed.

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
        raise ConfigError(f"{where} must have {', '.join(missing)}", found="none")
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


def refuse_the_studys_own(settings: Mapping[str, Any], where: str) -> None:
    """Refuse overrides of train.yaml that would give cells different budgets, or other data than the study's.

    Raises:
        ConfigError: names the override.
    """
    for key in settings:
        if key in THE_STUDYS_OWN or key.endswith(("_dir", "_file")) or key == "start_from":
            raise ConfigError(f"{where} must leave {key} to the study", found=str(settings[key]))
