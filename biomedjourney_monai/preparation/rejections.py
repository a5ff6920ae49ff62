"""The images, studies and pairs that preparation leaves out, each with its reason."""

from pathlib import Path

import pandas as pd

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.files import written_atomically

REJECTED_FILE = "rejected.csv"
REJECTED_COLUMNS = ("stage", "level", "reason", "subject_id", "study_id", "dicom_id", "image_path")
"""Of rejected.csv: stage is the verb, level is "image", "study" or "pair"; a pair is named by its new image."""

_OF_AN_IMAGE = ["dicom_id", "image_path"]


def write_rejected(work: str | Path, stage: str, rows: pd.DataFrame, *, after: tuple[str, ...] = ()) -> Path:
    """Write what a stage left out after what earlier stages left out; rows of later stages are out of date and removed.

    Args:
        stage: the verb.
        rows: columns `REJECTED_COLUMNS`, or some of them.
        after: the earlier stages.

    Raises:
        TableError: if the file exists but is not such a table.
    """
    path = Path(work) / REJECTED_FILE
    earlier = _read(path) if after and path.is_file() else pd.DataFrame(columns=list(REJECTED_COLUMNS))
    rows = rows.assign(stage=stage).reindex(columns=list(REJECTED_COLUMNS)).fillna("")
    with written_atomically(path) as temporary:
        pd.concat([earlier[earlier["stage"].isin(after)], rows]).to_csv(temporary, index=False)
    return path


def list_reasons(drops: dict[str, int]) -> str:
    """Write counts by reason as one line for the screen: "view not PA 3, view unknown 1", or "none"."""
    return ", ".join(f"{reason} {count:,}" for reason, count in drops.items()) or "none"


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)[list(REJECTED_COLUMNS)]
    except Exception as error:  # pandas and codecs raise many kinds
        raise TableError(
            f"{REJECTED_FILE} must be a table of rejected images, studies and pairs",
            found=type(error).__name__,
            action="Run `biomedjourney cohort` again",
        ) from error


class Rejections:
    """Collects what is left out, and why."""

    def __init__(self) -> None:
        self._parts: list[pd.DataFrame] = []

    def keep_images(self, images: pd.DataFrame, keep: pd.Series, reason: str, *, last: str = "") -> pd.DataFrame:
        """Return the images where `keep` is true; note the others, and with `last` the studies without image left."""
        kept = images[keep]
        self.add("image", reason, images[~keep])
        if last:
            gone = images[~images["study_id"].isin(kept["study_id"])]
            self.add("study", last, gone.drop_duplicates("study_id").drop(columns=_OF_AN_IMAGE, errors="ignore"))
        return kept

    def keep_studies(self, studies: pd.DataFrame, keep: pd.Series, reason: str) -> pd.DataFrame:
        """Return the studies where `keep` is true; note the others."""
        self.add("study", reason, studies[~keep])
        return studies[keep]

    def add(self, level: str, reason: str, rows: pd.DataFrame) -> None:
        """Note rows for a reason; columns they lack stay empty."""
        if len(rows):
            known = rows[[column for column in REJECTED_COLUMNS if column in rows]]
            self._parts.append(known.assign(level=level, reason=reason))

    def counts(self, level: str) -> dict[str, int]:
        """Reason → number, in the order of the steps."""
        counts: dict[str, int] = {}
        for part in self._parts:
            if part["level"].iloc[0] == level:
                reason = part["reason"].iloc[0]
                counts[reason] = counts.get(reason, 0) + len(part)
        return counts

    def table(self) -> pd.DataFrame:
        """Everything that was left out, columns `REJECTED_COLUMNS`."""
        if not self._parts:
            return pd.DataFrame(columns=list(REJECTED_COLUMNS))
        return pd.concat(self._parts, ignore_index=True).reindex(columns=list(REJECTED_COLUMNS)).fillna("")
