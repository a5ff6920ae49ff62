"""Which journeys are scored: kept ones of a split, with a sample where there are samples."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.evaluation.systems.sources import Counterfactuals
from biomedjourney_monai.files import read_table
from biomedjourney_monai.schema import PAIR_COLUMNS, PAIRS_FILE


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation, as metrics.json records them.

    Attributes:
        split: which journeys.
        bootstrap: replicates behind each interval.
        seed: of the bootstrap.
        uncertain: what an uncertain label counts as: "mask", "positive" or "negative".
        unmentioned: the same for a finding that the report does not mention.
        limit: at most so many journeys, 0 for all.
    """

    split: str = "test"
    bootstrap: int = 1000
    seed: int = 0
    uncertain: str = "mask"
    unmentioned: str = "negative"
    limit: int = 0


def choose_journeys(
    work: Path, counterfactuals: Counterfactuals | None, *, split: str, limit: int = 0
) -> tuple[pandas.DataFrame, dict[str, Any]]:
    """Choose the journeys that every system is scored on: kept ones of the split, with a sample if there are samples.

    Returns:
        Rows of pairs.parquet, and how many journeys there were, were dropped by reason, and are scored.

    Raises:
        TableError: if pairs.parquet is missing or unusable, or no journey is left.
    """
    pairs = read_table(work / PAIRS_FILE, columns=PAIR_COLUMNS, made_by="register")
    of_split = pairs[pairs["split"] == split]
    kept = of_split["kept"].astype(bool)
    dropped = Counter(str(reason) or "not kept" for reason in of_split.loc[~kept, "drop_reason"])
    chosen = of_split[kept]
    if counterfactuals is not None:
        sampled = chosen["journey_id"].isin(set(counterfactuals.rows))
        dropped["no counterfactual was sampled"] += int((~sampled).sum())
        chosen = chosen[sampled]
    if limit and len(chosen) > limit:
        dropped["over the limit"] += len(chosen) - limit
        chosen = chosen.head(limit)
    reasons = {reason: count for reason, count in dropped.items() if count}
    if chosen.empty:
        raise TableError(
            f"there must be a kept journey in the split {split!r} to score",
            found=f"{len(of_split)} journeys, dropped: {reasons}",
            action="Look at `biomedjourney register` and `biomedjourney sample`, or choose another --split",
        )
    counts = {
        "journeys": len(of_split),
        "dropped": reasons,
        "scored": len(chosen),
        "patients": int(chosen["subject_id"].nunique()),
    }
    return chosen.reset_index(drop=True), counts
