"""Refuse outputs that are inputs or that cannot be written, before anything runs."""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from biomedjourney_monai.errors import BiomedJourneyError

Inputs = Mapping[str, object]
"""Files that are read, by their role in a sentence, for example "the prior". What is not a path is ignored."""


FULL = (errno.ENOSPC, errno.EDQUOT)


class OutputError(BiomedJourneyError):
    """An output that is an input or cannot be written; `reason` is the code by which a list counts it."""

    def __init__(self, rule: str, *, found: str, action: str = "", reason: str) -> None:
        super().__init__(rule, found=found, action=action)
        self.reason = reason


class DiskFullError(OutputError):
    """The disk, or the user's share of it, is full. It ends a list, because no later row could be written."""

    ends_the_run = True


@contextmanager
def full_disk_named() -> Iterator[None]:
    """Raise `DiskFullError` for the file system's error; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        action = "Free some space and run the same command again; finished pictures are kept"
        rule = "the disk must have space for the pictures"
        raise DiskFullError(rule, found=os.strerror(error.errno), action=action, reason="disk full") from error


def same_file(one: str | Path, other: str | Path) -> bool:
    """Whether two paths lead to one file, by inode: also through links or in other letters. False if one is missing."""
    try:
        return Path(one).samefile(other)
    except OSError:
        return False


def refuse_inputs(files: Iterable[str | Path], inputs: Inputs, *, name: str = "--out") -> None:
    """Refuse to write over a file that is read.

    Args:
        files: to write.
        inputs: what is read.
        name: of the argument, for the error.

    Raises:
        OutputError: naming the input.
    """
    read = {role: path for role, path in inputs.items() if isinstance(path, (str, Path))}
    for file in files:
        for role, path in read.items():
            if same_file(file, path):
                rule, action = f"{name} must not overwrite what is read", "Name another file"
                raise OutputError(rule, found=role, action=action, reason=f"out is {role}")


def refuse_unwritable(file: str | Path, *, name: str = "--out", folder: bool = False) -> None:
    """Refuse a file, or with `folder` a folder, that cannot be written. Folders that are missing will be made.

    Raises:
        OutputError: naming what is in the way.
    """
    file = Path(file).absolute()
    nearest = next(path for path in ([file] if folder else []) + list(file.parents) if os.path.lexists(path))
    found = ""
    if not folder and file.is_dir():
        found = "a folder of that name"
    elif not nearest.is_dir():
        found = "a file in place of a folder"
    elif not os.access(nearest, os.W_OK | os.X_OK):
        found = "a folder without permission to write"
    if found:
        kind = "folder" if folder else "file"
        raise OutputError(f"{name} must be a {kind} that can be written", found=found, reason="out not writable")


def refuse_unwritable_results(folder: str | Path, *names: str) -> None:
    """Refuse to start a stage whose results could not be written to its folder.

    Raises:
        OutputError: naming the result and what is in the way.
    """
    for name in names:
        refuse_unwritable(Path(folder) / name, name=name)


def refuse_outside(file: str | Path, folder: str | Path) -> None:
    """Refuse a file outside a folder, also through `..` or a linked folder.

    Raises:
        OutputError: saying so.
    """
    if Path(folder).resolve() not in Path(file).resolve().parents:
        rule, reason = "out must be in the folder of the list", "out outside the list's folder"
        raise OutputError(rule, found="another folder", action="Add --anywhere to allow it", reason=reason)
