"""What falls out of a cohort, image by image and study by study, each with its reason."""

from __future__ import annotations

import pandas as pd

REJECTED_COLUMNS = ("level", "reason", "subject_id", "study_id", "dicom_id", "image_path")
"""Of rejected.csv: level is "image" or "study"."""


class Rejections:
    """Collects what is left out, and why."""

    def __init__(self) -> None:
        self._parts: list[pd.DataFrame] = []

    def keep_images(self, images: pd.DataFrame, keep: pd.Series, reason: str, *, last: str = "") -> pd.DataFrame:
        """Return the images where `keep` is true; note the others, and the studies that lose their last image.

        Args:
            images: one row per image, with study_id.
            keep: bool, one per image.
            reason: of the images that go.
            last: of the studies that have none left; not noted if empty.
        """
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


_OF_AN_IMAGE = ["dicom_id", "image_path"]
