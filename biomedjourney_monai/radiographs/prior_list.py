"""The requests of an inference run: one image or a folder of them, each with its description."""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from biomedjourney_monai.errors import BiomedJourneyError, ConfigError, TableError
from biomedjourney_monai.radiographs.loading import load_radiograph, original_size
from biomedjourney_monai.radiographs.prior_check import check_prior
from biomedjourney_monai.radiographs.region_mask import read_region

logger = logging.getLogger(__name__)


def list_priors(
    files: list[dict[str, str]],
    *,
    descriptions: str | Path | None = None,
    description: str = "",
    size: int,
    region: str | None = None,
    force: bool = False,
    check_description: Callable[[str], str] = lambda text: "",
) -> list[dict[str, Any]]:
    """Check every request before the first is generated, and leave out what is refused, counted by reason code.

    Args:
        files: `image` paths, as `configuration.list_images` gives them.
        descriptions: CSV file with the columns prior (a file's name) and description; a file that it does not name
            is left out.
        description: for every image where there is no CSV.
        size: side of the model's square.
        region: as `read_region` takes it.
        force: overrule refusals.
        check_description: raises an error with a `reason`, or returns the reason that was overruled.

    Returns:
        `image` and `description` of each request.

    Raises:
        BiomedJourneyError: the refusal itself where there is one image; ConfigError where none of several is left.
    """
    own = None if descriptions is None else read_descriptions(descriptions)
    rows, refused = [], Counter()
    for row in files:
        try:
            rows.append(
                _check(row["image"], own, description, size=size, region=region, force=force, say=check_description)
            )
        except BiomedJourneyError as error:
            if len(files) == 1:
                raise
            refused[getattr(error, "reason", "") or "request unusable"] += 1
    for reason, count in sorted(refused.items()):
        logger.warning(f"Left out: {count} {reason}.")
    if not rows:
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(refused.items()))
        raise ConfigError("an image of the folder must be usable", found=counts)
    return rows


def read_descriptions(file: str | Path) -> dict[str, str]:
    """Read a CSV file with the columns prior and description: file name to description.

    Raises:
        TableError: if it cannot be read, lacks a column, or names a file twice.
    """
    try:
        with Path(file).open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError("--descriptions must be a readable CSV file", found=type(error).__name__) from error
    if not rows or not {"prior", "description"} <= set(rows[0]):
        raise TableError("--descriptions must have rows with the columns prior and description", found="none such")
    texts = {Path(row["prior"] or "").name: (row["description"] or "").strip() for row in rows}
    if len(texts) != len(rows):
        raise TableError("--descriptions must name each prior once", found=f"{len(rows) - len(texts)} named again")
    return texts


def _check(
    file: str,
    own: dict[str, str] | None,
    description: str,
    *,
    size: int,
    region: str | None,
    force: bool,
    say: Callable[[str], str],
) -> dict[str, Any]:
    if own is not None and Path(file).name not in own:
        raise _UndescribedError("a prior must have a description", found="none in the CSV")
    text = description if own is None else own[Path(file).name]
    say(text)
    check_prior(load_radiograph(file, size=size), force=force)
    read_region(region, size=size, prior_hw=original_size(file))
    return {"image": file, "description": text}


class _UndescribedError(BiomedJourneyError):
    reason = "no_description"
