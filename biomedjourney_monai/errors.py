"""Errors that a user can fix. The command line prints them as one line and exits with status 2."""

import difflib
import functools
import importlib.util
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class BiomedJourneyError(Exception):
    """The rule, what was found, what to do. Never text or identifiers of a patient.

    Example:
        >>> raise BiomedJourneyError("scale must be > 0", found="-1", action="Pass --scale 1.")
        Traceback (most recent call last):
        ...
        biomedjourney_monai.errors.BiomedJourneyError: scale must be > 0; found -1. Pass --scale 1.
    """

    def __init__(self, rule: str, *, found: str = "", action: str = "") -> None:
        message = rule.rstrip(".")
        if found:
            message += f"; found {found.rstrip('.')}"
        message += "."
        if action:
            message += f" {action}" if action.endswith(("?", "!")) else f" {action.rstrip('.')}."
        super().__init__(message)


class ImageError(BiomedJourneyError):
    """An image that cannot be read, or that is not a chest radiograph we can use.

    Args:
        reason: a short code by which a long run counts what it leaves out, for example "image damaged".
    """

    def __init__(self, rule: str, *, found: str = "", action: str = "", reason: str = "image unreadable") -> None:
        super().__init__(rule, found=found, action=action)
        self.reason = reason


class TableError(BiomedJourneyError):
    """A table that is missing, unreadable, empty or lacks a column."""


class WeightsError(BiomedJourneyError):
    """Weights that are missing, unreadable or do not fit the network."""


class ConfigError(BiomedJourneyError):
    """A setting that no configuration knows, or whose value cannot be used."""


class SettingError(ConfigError):
    """A setting with a value outside its range, or of another type; `name` is the parameter."""

    def __init__(self, name: str, rule: str, *, found: str = "", action: str = "") -> None:
        super().__init__(f"{name} {rule}", found=found, action=action)
        self.name, self.rule, self.found, self.action = name, rule, found, action

    def as_option(self) -> ConfigError:
        """The same error, named as the command line's option."""
        return ConfigError(f"--{self.name.replace('_', '-')} {self.rule}", found=self.found, action=self.action)


EXTRAS = {
    **dict.fromkeys("dask distributed itk matplotlib mlflow pandas pyarrow SimpleITK torchxrayvision".split(), "train"),
    **dict.fromkeys("dicomweb_client requests".split(), "clinic"),
    **dict.fromkeys("anyio starlette uvicorn".split(), "web"),
    "openai": "llm",
}
"""Imported packages that the core installation lacks, and the extra of pyproject.toml that brings each."""


class MissingPackageError(BiomedJourneyError):
    """A package of an extra is not installed; `package` is its name as imported."""

    def __init__(self, package: str) -> None:
        super().__init__(
            f"{package} must be installed for this",
            found="no such package",
            action=f'Run `pip install "biomedjourney_monai[{EXTRAS[package]}]"`',
        )
        self.package = package

    @classmethod
    def of(cls, error: ImportError) -> "MissingPackageError | None":
        """The error that names the extra to install; None if the missing module belongs to no extra.

        Args:
            error: Python's, or MONAI's for a component without its optional package, which gives only the message.
        """
        named = re.search(r"No module named '(\w+)", str(error))
        return cls(named[1]) if named and named[1] in EXTRAS else None


def require_extra(extra: str) -> None:
    """Check that every package of an extra is installed, before long work begins.

    Raises:
        MissingPackageError: for the first that is not.
    """
    for package in (name for name, owner in EXTRAS.items() if owner == extra):
        if importlib.util.find_spec(package) is None:
            raise MissingPackageError(package)


@contextmanager
def as_weights_error(rule: str, *, action: str) -> Iterator[None]:
    """Raise a WeightsError for any error in loading weights: truncated or hostile bytes raise many kinds."""
    try:
        yield
    except Exception as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else type(error).__name__
        raise WeightsError(rule, found=found, action=action) from error


def refuse_unknown_keywords(function: F) -> F:
    """Decorate a public function so that an unknown keyword raises our error, with the nearest known keyword.

    Example:
        >>> refuse_unknown_keywords(lambda *, seed=0: seed)(sead=1)
        Traceback (most recent call last):
        ...
        biomedjourney_monai.errors.SettingError: sead is not a parameter; found sead. Did you mean seed?
    """
    known = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for name in kwargs:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                action = f"Did you mean {near[0]}?" if near else f"Pass one of {', '.join(known)}"
                raise SettingError(name, "is not a parameter", found=name, action=action)
        return function(*args, **kwargs)

    return checked  # type: ignore[return-value]


def require_at_least(minimum: int, **values: int | None) -> None:
    """Refuse numbers below a minimum; None means not given.

    Raises:
        SettingError: naming the argument.
    """
    for name, value in values.items():
        if value is not None and value < minimum:
            raise SettingError(name, f"must be >= {minimum}", found=str(value))
