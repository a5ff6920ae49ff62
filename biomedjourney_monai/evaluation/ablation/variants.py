"""Variants: settings of the networks and of the training that an ablation compares with equal budgets."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from biomedjourney_monai.configuration import CLASS_KEY, compose
from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.evaluation.ablation.settings import checked, mapping, refuse_decided_settings

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
