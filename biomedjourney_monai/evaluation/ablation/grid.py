"""The grid of an ablation: its settings file, its variants, which get equal budgets, and its cells."""

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
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


TEXTS = ("impression", "progression")
STAGES = (1, 2)
LAYOUTS = {"source": "a folder in MIMIC-CXR-JPG's layout", "chestxray14": "ChestX-ray14"}
"""Setting that names the cohort's folder, an option of `cohort` too -> what the folder is."""

VERBS_WITH_ARGUMENTS = ("phantom", "cohort", "journeys", "register", "describe", "encode", "sample", "evaluate")


@dataclass(frozen=True)
class Cell:
    """One model of the grid."""

    text: str
    registration: bool
    stages: int
    text_encoder: str
    variant: str = NO_VARIANT

    @property
    def name(self) -> str:
        """Unique in the grid; names the cell's folder and steps."""
        registered = "registered" if self.registration else "unregistered"
        return f"{self.text}-{registered}-{self.stages}stage-{self.model}"

    @property
    def model(self) -> str:
        """Name of the networks: cells of one text encoder and variant differ only in data and stages."""
        return self.text_encoder if self.variant == NO_VARIANT else f"{self.text_encoder}-{self.variant}"


@dataclass(frozen=True)
class Training:
    """The training budget, which is the same for every cell.

    Attributes:
        iterations: of a cell, both stages together.
        pretrain_iterations: of these in stage 1, where a cell has two stages.
        epoch_length: iterations per epoch; both numbers are multiples of it.
        autoencoder_epochs: of an autoencoder that the ablation or a variant trains, on top of that budget.
        settings: overrides of train.yaml, the same for every cell.
    """

    iterations: int
    pretrain_iterations: int
    epoch_length: int
    autoencoder_epochs: int = 6
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.pretrain_iterations < self.iterations or self.epoch_length < 1:
            raise ConfigError(
                "training must have 0 < pretrain_iterations < iterations and epoch_length >= 1",
                found=f"{self.pretrain_iterations}, {self.iterations} and {self.epoch_length}",
            )
        if self.autoencoder_epochs < 1:
            raise ConfigError("training.autoencoder_epochs must be >= 1", found=str(self.autoencoder_epochs))
        if self.iterations % self.epoch_length or self.pretrain_iterations % self.epoch_length:
            raise ConfigError(
                "iterations and pretrain_iterations must be multiples of epoch_length",
                found=f"{self.iterations}, {self.pretrain_iterations} and {self.epoch_length}",
            )
        refuse_decided_settings(self.settings, "training.settings")

    def epochs(self, cell: Cell) -> tuple[int, int]:
        """Epochs of stage 1 and of stage 2."""
        first = self.pretrain_iterations if cell.stages == 2 else 0
        return first // self.epoch_length, (self.iterations - first) // self.epoch_length


@dataclass(frozen=True)
class Ablation:
    """The content of a settings file.

    Attributes:
        source: folder of the cohort; None renders patients.
        layout: of that folder: `source` for MIMIC-CXR-JPG's, or `chestxray14`.
        phantom: patients and seed of the rendered cohort.
        cells: without duplicates, the grid's first.
        text_encoders: name -> folder.
        networks: overrides of common.yaml by section, for every cell.
        training: the budget.
        model: model file whose autoencoder the cells share; None for the bundle's, or for a new one where `networks`
            changes it. A variant that changes it always trains its own.
        arguments: verb -> further arguments.
        split: that cells are scored on.
        seed: of texts, training, sampling and bootstrap.
        variants: name -> what differs from `networks` and `training.settings` in its cells.
    """

    source: Path | None
    layout: str
    phantom: dict[str, int]
    cells: tuple[Cell, ...]
    text_encoders: dict[str, Path]
    networks: dict[str, Any]
    training: Training
    model: Path | None
    arguments: dict[str, list[str]]
    split: str
    seed: int
    variants: dict[str, Variant] = field(default_factory=dict)

    def variant(self, cell: Cell) -> Variant:
        """The cell's variant."""
        return self.variants.get(cell.variant, Variant())

    def autoencoder_of(self, cell: Cell) -> str | None:
        """The variant whose autoencoder is trained for the cell, `none` for the ablation's own; None if it is given."""
        if "autoencoder" in self.variant(cell).networks:
            return cell.variant
        return NO_VARIANT if "autoencoder" in self.networks and self.model is None else None

    def as_record(self) -> dict[str, Any]:
        """The settings without paths, for ablation.json."""
        return {
            "cohort": "rendered" if self.source is None else LAYOUTS[self.layout],
            "phantom": self.phantom if self.source is None else {},
            "training": asdict(self.training),
            "networks": self.networks,
            "arguments": self.arguments,
            "split": self.split,
            "seed": self.seed,
            **(
                {"variants": {name: asdict(variant) for name, variant in self.variants.items()}}
                if self.variants
                else {}
            ),
        }


def read_ablation(path: Path, *, bundle: Path) -> Ablation:
    """Read a settings file. Folders of text encoders are relative to the bundle, others to the file.

    Raises:
        ConfigError: naming the setting that is wrong, unknown or missing.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError("--config must be a readable YAML file", found=type(error).__name__) from error
    known = {*LAYOUTS, "phantom", "grid", "also", "text_encoders", "networks", "training"}
    known |= {"model", "arguments", "split", "seed", "variants"}
    content = checked(content, known, "the ablation", needed=("grid", "text_encoders", "training"))
    encoders = {str(name): bundle / str(folder) for name, folder in mapping(content, "text_encoders").items()}
    for name, folder in encoders.items():
        if not folder.is_dir():
            raise ConfigError(f"text_encoders.{name} must be a folder", found="no such folder")
    layouts = [layout for layout in LAYOUTS if content.get(layout) is not None]
    if len(layouts) > 1:
        raise ConfigError("an ablation has one cohort", found=" and ".join(layouts))
    given = checked(content["training"], set(Training.__dataclass_fields__), "training")
    train_yaml = yaml.safe_load((bundle / "configs" / "train.yaml").read_text(encoding="utf-8"))
    checked(given.get("settings") or {}, set(train_yaml), "training.settings")
    try:
        training = Training(**given)
    except TypeError as error:
        raise ConfigError(
            "training must give iterations, pretrain_iterations and epoch_length", found=", ".join(given)
        ) from error
    networks, arguments = mapping(content, "networks"), mapping(content, "arguments")
    variants = read_variants(content, networks=networks, train_keys=set(train_yaml), bundle=bundle)
    checked(arguments, set(VERBS_WITH_ARGUMENTS), "arguments")
    return Ablation(
        source=_path(content[layouts[0]], path) if layouts else None,
        layout=layouts[0] if layouts else "source",
        phantom={"patients": 400, "seed": 7} | checked(mapping(content, "phantom"), {"patients", "seed"}, "phantom"),
        cells=_cells(content["grid"], content.get("also") or [], list(encoders), list(variants)),
        text_encoders=encoders,
        networks=networks,
        training=training,
        model=_path(content.get("model"), path),
        arguments={verb: [str(word) for word in words] for verb, words in arguments.items()},
        split=str(content.get("split", "test")),
        seed=int(content.get("seed", 0)),
        variants=variants,
    )


def choose_cells(ablation: Ablation, names: Sequence[str]) -> tuple[Cell, ...]:
    """The cells of these names, or all.

    Raises:
        ConfigError: naming a cell that is not in the grid.
    """
    by_name = {cell.name: cell for cell in ablation.cells}
    for name in names:
        if name not in by_name:
            raise ConfigError("--cell must name a cell of the grid", found=name, action=f"One of: {', '.join(by_name)}")
    return tuple(by_name[name] for name in names) if names else ablation.cells


def _cells(grid: Any, also: Any, encoders: Sequence[str], variants: Sequence[str]) -> tuple[Cell, ...]:
    needed = {"text": TEXTS, "registration": (False, True), "stages": STAGES, "text_encoder": tuple(encoders)}
    axes = {**needed, "variant": (NO_VARIANT, *variants)}
    grid = {"variant": [NO_VARIANT], **checked(grid, set(axes), "grid", needed=tuple(needed))}
    levels = [[_level(axis, value, axes) for value in grid[axis] or []] for axis in axes]
    cells = [Cell(*values) for values in itertools.product(*levels)]
    for row in also:
        row = {"variant": NO_VARIANT, **checked(row, set(axes), "also", needed=tuple(needed))}
        cells.append(Cell(*(_level(axis, row[axis], axes) for axis in axes)))
    if not cells:
        raise ConfigError("the grid must have a cell", found="an axis without a value")
    if variants and all(cell.variant == NO_VARIANT for cell in cells):
        raise ConfigError(
            "variants must have a cell", found=f"{len(cells)} cells without one", action="Name them in grid.variant"
        )
    models = {(cell.text_encoder, cell.variant): cell.model for cell in cells}
    for model in models.values():
        if list(models.values()).count(model) > 1:
            raise ConfigError(
                "text encoders and variants must have names that differ when joined", found=f"{model} twice"
            )
    return tuple(dict.fromkeys(cells))


def _level(axis: str, value: Any, axes: Mapping[str, Sequence[Any]]) -> Any:
    fitting = [known for known in axes[axis] if known == value and type(known) is type(value)]
    if not fitting:
        choices = ", ".join(str(known) for known in axes[axis])
        raise ConfigError(f"{axis} must be one of {choices}", found=str(value))
    return fitting[0]


def _path(value: Any, config: Path) -> Path | None:
    return None if value is None else (config.resolve().parent / str(value)).resolve()
