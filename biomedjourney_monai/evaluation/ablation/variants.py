"""Variants, which an ablation compares with equal budgets, and the checks of the sections of its settings file."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from biomedjourney_monai.configuration import CLASS_KEY, compose, unknown_key
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


NO_VARIANT = "none"
"""The level of a cell with the ablation's own networks and settings."""
FREE_SECTIONS = ("autoencoder", "denoiser", "noise_scheduler", "sampler")
"""Sections of common.yaml that the shared images and texts do not depend on."""
NETWORKS_IN_TRAINING = ("autoencoder", "denoiser", "noise_scheduler", "text_encoder", "image_size")
"""Sections that train.yaml takes too, but that sampling would not use."""


@dataclass(frozen=True)
class Variant:
    """Differences to the ablation's own networks and settings.

    Attributes:
        networks: overrides of common.yaml by section, laid over the ablation's.
        settings: overrides of train.yaml, laid over the ablation's.
    """

    networks: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def read_variants(
    content: Mapping[str, Any], *, networks: Mapping[str, Any], train_keys: Collection[str], bundle: Path
) -> dict[str, Variant]:
    """Read the section `variants` of a settings file; variants are laid over the ablation's `networks`.

    Raises:
        ConfigError: naming the setting that is wrong, unknown, or shared by all variants.
    """
    variants = {}
    for name, given in mapping(content, "variants").items():
        where = f"variants.{name}"
        if name == NO_VARIANT or not re.fullmatch(r"\w[\w.-]*", str(name)):
            rule = f"a variant's name must be of letters, digits, _, . and -, and not {NO_VARIANT}"
            raise ConfigError(rule, found=str(name))
        given = checked({} if given is None else given, {"networks", "settings"}, where)
        variant = Variant(mapping(given, "networks", where=f"{where}."), mapping(given, "settings", where=f"{where}."))
        checked(variant.settings, train_keys, f"{where}.settings")
        refuse_decided_settings(variant.settings, f"{where}.settings")
        for key in variant.settings:
            if key in NETWORKS_IN_TRAINING:
                raise ConfigError(f"{where}.settings must leave {key} to {where}.networks", found=key)
        _check_networks(variant.networks, networks, where=f"{where}.networks", bundle=bundle)
        variants[str(name)] = variant
    return variants


def lay_over(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge section by section and key by key. A section that names another class replaces the whole section."""
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping) and CLASS_KEY not in value:
            value = lay_over(below, value)
        merged[key] = value
    return merged


def _check_networks(changes: Mapping[str, Any], networks: Mapping[str, Any], *, where: str, bundle: Path) -> None:
    common = bundle / "configs" / "common.yaml"
    compose(common, lay_over(networks, changes))
    for section in changes:
        if section not in FREE_SECTIONS:
            raise ConfigError(
                f"{where} may change {', '.join(FREE_SECTIONS)} alone: all variants share the same images and texts",
                found=section,
                action="Change it for every cell in networks, or run another ablation",
            )
        if not isinstance(changes[section], Mapping):
            raise ConfigError(f"{where}.{section} must hold settings by name", found=type(changes[section]).__name__)
