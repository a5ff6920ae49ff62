"""The bundle's configs: find their folder, compose `common.yaml` with overlays, and refuse unknown overrides."""

from __future__ import annotations

import copy
import difflib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from biomedjourney_monai.errors import BiomedJourneyError, ConfigError, MissingPackageError

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

Component = TypeVar("Component")

RUN_OPTIONS = frozenset(
    "run_id init_id final_id meta_file config_file logging_file tracking args_file".split()
    + "workflow_type workflow_name properties_path".split()
)
TRACKING_OPTIONS = frozenset("tracking_uri experiment_name run_name save_execute_config output_dir".split())
NOTHING = frozenset({"None", "null", "~"})
KEY = re.compile("--.|-[a-zA-Z]")
CLASS_KEY = "_class_"


def is_bundle(folder: Path) -> bool:
    """Whether a folder is a bundle's."""
    return (folder / "configs" / "metadata.json").is_file()


def locate_root() -> str:
    """Find the bundle's folder: that of the config file on the command line or of the running MONAI workflow, or the
    installed bundle.

    The current folder is not searched, because a bundle's configs are code.

    Raises:
        ConfigError: if no such folder contains configs/metadata.json.
    """
    given = [Path(name).resolve().parent.parent for name in config_files(sys.argv)]
    if (workflow := running_workflow()) is not None:
        given.append(Path(workflow.config_root_path).resolve().parent)
    package = Path(__file__).resolve().parent  # in a checkout, installed with its bundle, or inside a bundle
    for folder in [*given, package.parent / "bundle", package / "_bundle", package.parent]:
        if is_bundle(folder):
            return str(folder)
    raise ConfigError(
        "the bundle's folder must hold configs/metadata.json",
        found="no such file near the config file or this package",
        action="Pass --bundle_root FOLDER",
    )


def running_workflow() -> Any | None:
    """The MONAI `ConfigWorkflow` whose config is being evaluated; None if there is none.

    MONAI tells an expression neither its config's file nor its overrides, so this looks at the calls in progress.
    """
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if any(kind.__name__ == "ConfigWorkflow" for kind in type(caller).__mro__):
            return caller
        frame = frame.f_back
    return None


def compose(common_file: str | Path, sections: Mapping[str, Any] | None = None) -> ConfigParser:
    """Read `common.yaml`, lay overrides over its sections, and return the parser that builds components from it.

    Args:
        common_file: the file that defines every network, once.
        sections: the differences, by section. Nested mappings are merged, other values replace, None changes nothing.
            A section with a `_class_` replaces the whole section: another network has other settings. (The key is not
            `_target_`, because MONAI would build that where it stands.)

    Returns:
        The parser; `parser.get_parsed_content(name)` builds a component.

    Raises:
        ConfigError: if the file cannot be read, or a section or a key is not in it.
    """
    from monai.bundle import ConfigParser

    content = _load(common_file)
    for section, changes in (sections or {}).items():
        if section not in content:
            raise unknown_key(section, content)
        if changes is None:
            continue
        content[section] = _lay_over(content[section], changes, section)
    parser = ConfigParser(content)
    parser.parse()
    return parser


def start_run(bundle_root: str | Path, *, seed: int | None = None) -> None:
    """Begin a run of the bundle: one-line errors, no unknown overrides, and, with a seed, determinism.

    Raises:
        ConfigError: as `refuse_unknown_overrides`.
    """
    errors_as_one_line()
    refuse_unknown_overrides(bundle_root)
    if seed is not None:
        from monai.utils import set_determinism

        set_determinism(seed=seed)


def refuse_unknown_overrides(bundle_root: str | Path, *, arguments: Sequence[str] | None = None) -> None:
    """Refuse a run, and `--key value` on the command line, that no config file contains.

    MONAI accepts an override of any key and silently ignores one that is not read, and one of None; a run that does not
    exist fails only after everything was prepared for it. Sections of `common.yaml` that the first config file also has
    can be overridden key by key.

    Args:
        bundle_root: folder of `configs/common.yaml`.
        arguments: the command line; default `sys.argv`.

    Raises:
        ConfigError: names the run or key, and the nearest one that exists.
    """
    arguments = sys.argv if arguments is None else list(arguments)
    files = config_files(arguments)
    if not files or "monai.bundle" not in " ".join(arguments[:1]).replace("/", "."):
        return
    contents = [_load(name) for name in files]
    known = {key: value for content in contents for key, value in content.items()}
    _require_run(arguments, known)
    for section, content in _load(Path(bundle_root) / "configs" / "common.yaml").items():
        if isinstance(content, Mapping) and isinstance(contents[0].get(section), Mapping):
            known[section] = _union(content, known[section])
    options = RUN_OPTIONS | (TRACKING_OPTIONS if _has_option(arguments, "tracking") else frozenset())
    names = set(_addresses(known))
    for given, value in overrides(arguments):
        key = given.lstrip("+").replace("::", "#")
        if key not in options and key not in names:
            raise unknown_key(key, names | options)
        if value in NOTHING and key not in options:
            raise ConfigError(
                "an override that removes a key's value must be written '$None'",
                found=f"--{key} {value}, which MONAI {'ignores' if value == 'None' else 'takes for a word'}",
                action=f"Pass --{key} '$None', in quotes",
            )


def _require_run(arguments: Sequence[str], known: Mapping[str, Any]) -> None:
    """Refuse `run NAME`, or `--run_id NAME`, where the configs have no such list of steps."""
    named = dict(overrides(arguments)).get("run_id")
    if named is None and list(arguments[1:2]) == ["run"] and len(arguments) > 2 and not arguments[2].startswith("-"):
        named = arguments[2]
    runs = sorted(key for key, value in known.items() if isinstance(value, list) or str(value).startswith("%"))
    if named is not None and named not in known:
        nearest = difflib.get_close_matches(named, runs, n=1, cutoff=0.4)
        raise ConfigError(
            "a run must be a list of steps of the config",
            found=named,
            action=f"Did you mean {nearest[0]}?" if nearest else "See the config file for its runs",
        )


def unknown_key(key: str, known: Iterable[str]) -> ConfigError:
    """The error for a key that no config contains."""
    nearest = difflib.get_close_matches(key, list(known), n=1, cutoff=0.4)
    return ConfigError(
        "an override must name a key of the config",
        found=f"--{key}",
        action=f"Did you mean --{nearest[0]}?" if nearest else "See the config file for its keys",
    )


def config_files(arguments: Sequence[str]) -> list[str]:
    """The files after `--config_file`: one name, or a list in brackets."""
    value = ""
    for index, argument in enumerate(arguments):
        if argument == "--config_file" and index + 1 < len(arguments):
            value = arguments[index + 1]
        elif argument.startswith("--config_file="):
            value = argument.split("=", 1)[1]
    return [name.strip(" '\"") for name in value.strip("[]()").split(",") if name.strip(" '\"")]


def overrides(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """Every `--key value` and `--key=value` after the program's name, in order, as MONAI's parser (Fire) reads them.

    One dash is as good as two; -0.5 is a value, and a key without a value is True.
    """
    pairs = []
    for index, argument in enumerate(arguments):
        if index == 0 or not KEY.match(argument):
            continue
        key, equals, value = argument.lstrip("-").partition("=")
        if not equals:
            following = arguments[index + 1] if index + 1 < len(arguments) else "--"
            value = "True" if following.startswith("--") or KEY.match(following) else following
        pairs.append((key, value))
    return pairs


def as_config_text(path: str | Path) -> str:
    """A path as Fire and MONAI leave it: absolute, and with # as an expression, because MONAI replaces # in texts."""
    text = str(Path(path).absolute())
    if "#" not in text:
        return text
    return "$'" + "".join(sign if sign.isalnum() or sign in "/._-" else f"\\U{ord(sign):08x}" for sign in text) + "'"


def _load(path: str | Path) -> dict[str, Any]:
    from monai.bundle import ConfigParser

    try:
        content = ConfigParser.load_config_file(str(path))
    except Exception as error:  # YAML's, JSON's, MONAI's and the file system's
        raise ConfigError(
            f"{path} must be a readable config file", found=type(error).__name__, action="Check the path and its syntax"
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must contain settings by name", found=type(content).__name__)
    return content


def _has_option(arguments: Sequence[str], name: str) -> bool:
    return any(argument == f"--{name}" or argument.startswith(f"--{name}=") for argument in arguments)


def _addresses(content: Any, prefix: str = "") -> Iterator[str]:
    items = content.items() if isinstance(content, Mapping) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        address = f"{prefix}#{key}" if prefix else str(key)
        yield address
        yield from _addresses(value, address)


def _union(base: Any, extra: Any) -> Any:
    if isinstance(base, Mapping) and isinstance(extra, Mapping):
        return {key: _union(base.get(key), extra.get(key)) for key in {**base, **extra}}
    return base if extra is None else extra if base is None else base


def read_overlay(file: str | Path, common_file: str | Path) -> dict[str, Any]:
    """The sections of `common.yaml` that an overlay changes, as `compose` takes them, without its other keys.

    A key may be an address in MONAI's notation: `denoiser#channels: [64, 96]` is `denoiser: {channels: [64, 96]}`.
    """
    content, common = _load(file), _load(common_file)
    sections: dict[str, Any] = {}
    for address, value in content.items():
        section, *names = str(address).replace("::", "#").split("#")
        if section in common:
            for name in reversed(names):
                value = {name: value}
            sections[section] = _union(value, sections.get(section))
    return sections


def read_key(file: str | Path, section: str, key: str) -> Any | None:
    """A key of a section of a config file; None if it is not there.

    Raises:
        ConfigError: if the file cannot be read.
    """
    content = _load(file).get(section)
    return content.get(key) if isinstance(content, Mapping) else None


def _lay_over(base: Any, changes: Any, section: str) -> Any:
    if isinstance(changes, Mapping) and CLASS_KEY in changes:
        rest = {key: value for key, value in changes.items() if key != CLASS_KEY}
        return {"_target_": changes[CLASS_KEY], **copy.deepcopy(rest)}
    return _merge(base, changes, section)


def _merge(base: Any, changes: Any, address: str) -> Any:
    if not isinstance(changes, Mapping) or not isinstance(base, Mapping):
        return copy.deepcopy(changes)
    merged = dict(base)
    for key, value in changes.items():
        if key not in base:
            raise unknown_key(f"{address}#{key}", _addresses({address: base}))
        merged[key] = _merge(base[key], value, f"{address}#{key}")
    return merged


def errors_as_one_line() -> None:
    """Let a bundle run end with the package's one-line error, where MONAI would print a traceback around it."""
    default = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        cause: BaseException | None = error
        while cause is not None:
            known = MissingPackageError.of(cause) if isinstance(cause, ImportError) else cause
            if isinstance(known, BiomedJourneyError):
                print(f"error: {known}", file=sys.stderr)
                return
            cause = cause.__cause__ or cause.__context__
        default(kind, error, trace)

    sys.excepthook = show


def as_component(component: Component) -> Component:
    """Return the component: lists a handler that is defined elsewhere in `train#handlers`, where MONAI's
    `check_properties` expects a `_target_` in every entry.
    """
    return component


def run_name(stage: str) -> str:
    """A new name for MLflow at each start of a stage, because MLflow refuses changed settings in a run."""
    return f"{stage}-{datetime.now().strftime('%Y%m%d-%H%M%S-%f')}"
