"""Outcomes of the rows of a list: counted, and written next to the list."""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from biomedjourney_monai.files import written_atomically

MADE, KEPT, NOT_TRIED = "made", "kept", "not tried"
RESULTS_SUFFIX = ".results.csv"


def reason_of(error: Exception, *, otherwise: str = "row unusable") -> str:
    """The reason code of an error, by which a row is counted."""
    return getattr(error, "reason", "") or otherwise


def results_file(table: Path) -> Path:
    """The file of outcomes next to a list: `requests.results.csv` for `requests.csv`."""
    return table.with_name(table.name.removesuffix(".csv") + RESULTS_SUFFIX)


def noting(warn: Callable[[str], None], codes: list[str], row: int) -> Callable[[str], None]:
    """A `warn` that also adds the reason code of each warning, which stands in brackets in it, to `codes[row]`."""

    def note(warning: str) -> None:
        warn(warning)
        codes[row] = " ".join(dict.fromkeys([*codes[row].split(), *codes_of(warning)]))

    return note


def codes_of(warning: str) -> list[str]:
    """The reason codes in a warning."""
    return re.findall(r"\((\w+)\)", warning)


def log_codes(logger: logging.Logger, warning: str) -> None:
    """Log the reason codes of a warning only, since it may repeat words of the description."""
    logger.warning(f"warned of: {' '.join(codes_of(warning))}")


def write_outcomes(
    file: Path, outcomes: Sequence[str], files: Sequence[str] | None = None, *, codes: Sequence[str] | None = None
) -> None:
    """Write one line for each row: its number and outcome, the file that was written, and the codes of its warnings."""
    lines = ["row,outcome" + (",file" if files is not None else "") + (",warnings" if codes is not None else "")]
    for number, outcome in enumerate(outcomes, start=1):
        written = "" if files is None else f",{files[number - 1] if outcome in (MADE, KEPT) else ''}"
        lines.append(f"{number},{outcome}{written}" + (f",{codes[number - 1]}" if codes is not None else ""))
    with written_atomically(file) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def count_outcomes(outcomes: Iterable[str], good: Sequence[str]) -> tuple[dict[str, int], int, str]:
    """Count outcomes; those that are not in `good` are refusals.

    Returns:
        The counts of the good outcomes, the number of refusals, and a text with the count of each reason.
    """
    counts = Counter(outcomes)
    found = {name: counts.pop(name, 0) for name in good}
    refused = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    return found, sum(counts.values()), refused
