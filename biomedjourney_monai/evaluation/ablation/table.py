"""Numbers of an ablation: of each cell, paired differences between cells, and the mean effect of each switch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.evaluation.metrics.bootstrap import draw_patient_weights
from biomedjourney_monai.evaluation.metrics.labels import read_truth
from biomedjourney_monai.evaluation.metrics.measure import Scored
from biomedjourney_monai.evaluation.metrics.registry import HEADLINES
from biomedjourney_monai.evaluation.metrics.statistic import OVERALL, Statistic, Summary, compare
from biomedjourney_monai.evaluation.systems.baselines import CopyPrior, RealReference
from biomedjourney_monai.evaluation.systems.scoring import SCORE_COLUMNS
from biomedjourney_monai.evaluation.systems.sources import COUNTERFACTUAL
from biomedjourney_monai.files import read_table
from biomedjourney_monai.schema import PAIR_COLUMNS

MEASURES = tuple(sorted(HEADLINES, key=lambda measure: measure.combined))
"""In the order of the tables: combined measures come after their components."""

METRICS = tuple(measure.key for measure in MEASURES)
BASELINES = (CopyPrior.name, RealReference.name)


@dataclass(frozen=True)
class ScoredCells:
    """Statistics of each cell and baseline on the journeys that all cells share, with the same bootstrap replicates."""

    summaries: dict[str, Summary]
    journeys: int
    patients: int
    left_out: int


def score_cells(
    score_files: Mapping[str, Path], pairs_file: Path, *, bootstrap: int, seed: int, uncertain: str, unmentioned: str
) -> ScoredCells:
    """Compute every number of the cells on the journeys that all of them share.

    `score_files` names each cell's scores.parquet; the baselines are read from the first. The other arguments are those
    of the evaluation of the cells.

    Raises:
        TableError: if a file is unusable or no journey is common to all cells.
    """
    tables = {name: _read_scores(path) for name, path in score_files.items()}
    own = {name: table[table["system"] == COUNTERFACTUAL].set_index("journey_id") for name, table in tables.items()}
    first = next(iter(tables.values()))
    rows = own | {
        name: first[first["system"] == name].set_index("journey_id")
        for name in BASELINES
        if (first["system"] == name).any()
    }
    common = set.intersection(*(set(table.index) for table in rows.values()))
    everywhere = set.union(*(set(table.index) for table in own.values()))
    pairs = read_table(pairs_file, columns=PAIR_COLUMNS, made_by="register")
    journeys = pairs[pairs["journey_id"].isin(common)].reset_index(drop=True)
    if journeys.empty:
        raise TableError(
            "the cells of an ablation must have journeys in common",
            found=f"{len(rows)} tables without a common journey",
        )
    weights = draw_patient_weights(
        journeys["subject_id"].to_numpy(), replicates=bootstrap, generator=np.random.default_rng(seed)
    )
    truth = read_truth(journeys, uncertain=uncertain, unmentioned=unmentioned)
    scored = {name: Scored(table.loc[journeys["journey_id"]], truth, weights) for name, table in rows.items()}
    summaries = {name: {measure.key: own.statistics(measure) for measure in MEASURES} for name, own in scored.items()}
    return ScoredCells(summaries, len(journeys), journeys["subject_id"].nunique(), len(everywhere) - len(journeys))


def cell_numbers(summary: Summary) -> dict[str, dict[str, Any]]:
    """Metric -> value, low, high, count, note."""
    return {metric: summary[metric][OVERALL].as_number() for metric in METRICS}


def compare_with(scored: ScoredCells, cells: Sequence[str], reference: str) -> list[dict[str, Any]]:
    """Each cell minus the reference cell, paired."""
    return [
        {
            "one": name,
            "other": reference,
            "metrics": compare(scored.summaries[name], scored.summaries[reference], metrics=METRICS),
        }
        for name in cells
        if name != reference
    ]


def switch_effects(scored: ScoredCells, cells: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The effect of a switch: the mean difference of the pairs of cells that differ in it alone.

    `cells` gives each cell's level on each axis, e.g. {"text": "impression", "stages": 1}.

    Returns:
        One entry per axis and two of its levels: axis, from, to, the number of pairs, and the differences by metric.
    """
    effects = []
    axes = list(next(iter(cells.values()))) if cells else []
    for axis in axes:
        levels = list(dict.fromkeys(cell[axis] for cell in cells.values()))
        for n, before in enumerate(levels):
            for after in levels[n + 1 :]:
                matched = [
                    (one, other)
                    for one, mine in cells.items()
                    for other, theirs in cells.items()
                    if mine == {**theirs, axis: after} and theirs[axis] == before
                ]
                if matched:
                    one = _mean_summary([scored.summaries[name] for name, _ in matched])
                    other = _mean_summary([scored.summaries[name] for _, name in matched])
                    metrics = compare(one, other, metrics=METRICS)
                    effects.append(
                        {"axis": axis, "from": before, "to": after, "pairs": len(matched), "metrics": metrics}
                    )
    return effects


def _mean_summary(summaries: Sequence[Summary]) -> Summary:
    """Average the overall statistics, replicate by replicate."""
    return {
        metric: {
            OVERALL: Statistic(
                np.mean([summary[metric][OVERALL].values for summary in summaries], axis=0),
                min(summary[metric][OVERALL].count for summary in summaries),
            )
        }
        for metric in METRICS
    }


def _read_scores(path: Path) -> pandas.DataFrame:
    return read_table(path, columns=["system", "journey_id", *SCORE_COLUMNS], made_by="evaluate")
