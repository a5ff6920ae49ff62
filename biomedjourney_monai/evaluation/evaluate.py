"""Score a working folder: which journeys, which systems, which numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.evaluation.further import FURTHER, NO_FEATURES, NO_IMAGENET, summarise_further
from biomedjourney_monai.evaluation.judges.feature_bank import Extractor, FeatureBank
from biomedjourney_monai.evaluation.judges.judged import Measure
from biomedjourney_monai.evaluation.judges.loading import Judges
from biomedjourney_monai.evaluation.metrics.bootstrap import draw_patient_weights
from biomedjourney_monai.evaluation.metrics.effectiveness import Effectiveness
from biomedjourney_monai.evaluation.metrics.severity import AskedSeverity
from biomedjourney_monai.evaluation.metrics.sides import SideCorrectness
from biomedjourney_monai.evaluation.metrics.target_change import TargetChange
from biomedjourney_monai.evaluation.set_metrics import neighbour_columns, summarise_sets, training_targets
from biomedjourney_monai.evaluation.subgroups import summarise_subgroups
from biomedjourney_monai.evaluation.summary import Summary, as_numbers, compare, read_truth, summarise
from biomedjourney_monai.evaluation.systems.asked_findings import Requests
from biomedjourney_monai.evaluation.systems.baselines import CopyPrior, RealReference
from biomedjourney_monai.evaluation.systems.scoring import Remarks, score_systems
from biomedjourney_monai.evaluation.systems.sources import Counterfactuals, System, read_counterfactuals
from biomedjourney_monai.evaluation.systems.true_counterfactuals import TrueCounterfactuals, TruthError
from biomedjourney_monai.files import read_table
from biomedjourney_monai.schema import PAIR_COLUMNS, PAIRS_FILE, SAMPLES_FOLDER

SCORES_FILE = "scores.parquet"
"""Beside metrics.json: what the judges said of each journey and system."""

COMPARED = ("pathology_auroc", "changed_auroc", "race_auroc", "age_r", "cmig", "kl", "dice_reference")


@dataclass(frozen=True)
class EvaluationSettings:
    """What an evaluation can be asked for.

    Attributes:
        split: which journeys.
        bootstrap: replicates behind each interval.
        seed: of the bootstrap.
        uncertain: what an uncertain label counts as: "mask", "positive" or "negative".
        unmentioned: likewise for a finding that the report does not mention.
        limit: at most so many journeys, 0 for all.
    """

    split: str = "test"
    bootstrap: int = 1000
    seed: int = 0
    uncertain: str = "mask"
    unmentioned: str = "negative"
    limit: int = 0


@dataclass(frozen=True)
class Material:
    """What an evaluation may be given to measure more than the judges say.

    Attributes:
        requests: what each journey's description asks for: side, severity, target.
        truth: the true counterfactuals of rendered patients.
        imagenet: features for FID and KID beside the judges' own.
        training_targets: how many images of training journeys to look for copies of; 0 for none.
    """

    requests: Requests | None = None
    truth: TrueCounterfactuals | None = None
    imagenet: Extractor | None = None
    training_targets: int = 0

    def measures(self) -> list[Measure]:
        """What can be measured with it."""
        asked = [SideCorrectness, AskedSeverity, TargetChange, Effectiveness] if self.requests is not None else []
        return [*(kind(self.requests) for kind in asked), *([] if self.truth is None else [TruthError(self.truth)])]


def evaluate(
    work: Path,
    judges: Judges,
    *,
    settings: EvaluationSettings,
    others: Sequence[System] = (),
    material: Material | None = None,
) -> tuple[dict[str, Any], pandas.DataFrame]:
    """Score the baselines, the samples of the folder where there are any, and other systems, on the same journeys.

    Args:
        work: the working folder, with pairs.parquet and its images, and samples/ or not.
        others: further systems.
        material: for numbers beyond the paper's; what is not given makes theirs null, with the reason.

    Returns:
        The content of metrics.json, and the scores per journey and system.

    Raises:
        TableError: if the tables are missing or unusable, or no journey is left to score.
    """
    material = material or Material()
    counterfactuals = read_counterfactuals(work / SAMPLES_FOLDER)
    journeys, counts = choose_journeys(work, counterfactuals, settings=settings)
    systems = _gather_systems(work, counterfactuals, others=others, truth=material.truth)
    banks = _feature_banks(judges, material.imagenet)
    measures = [*material.measures(), *(bank for bank in banks.values() if bank is not None)]
    scores, remarks = score_systems(journeys, systems, judges, work=work, measures=measures)
    galleries = _add_neighbours(scores, banks[""], journeys, judges, work=work, limit=material.training_targets)
    numbers = _summarise_systems(scores, banks, journeys, settings=settings)
    every_journey = set(read_table(work / PAIRS_FILE, columns=["journey_id"], made_by="register")["journey_id"])
    content = {
        "settings": vars(settings),
        "counts": counts,
        "galleries": galleries,
        "judges": judges.provenance(),
        "model": {} if counterfactuals is None else counterfactuals.provenance(),
        "systems": [
            _describe(system, remarks[system.name], every_journey) | numbers.of(system.name) for system in systems
        ],
        "differences": _differences(numbers.summaries, "counterfactual", ("copy-prior", "real reference")),
        "comparisons": _compare_every_two(numbers.summaries, numbers.further),
    }
    return content, pandas.concat(scores, names=["system"]).reset_index()


def _gather_systems(
    work: Path, counterfactuals: Counterfactuals | None, *, others: Sequence[System], truth: TrueCounterfactuals | None
) -> list[System]:
    """The baselines, between them the model's images if there are any, other systems, and the goal if it is known."""
    model = [] if counterfactuals is None else [counterfactuals]
    return [CopyPrior(work), *model, RealReference(work), *others, *([] if truth is None else [truth])]


def _feature_banks(judges: Judges, imagenet: Extractor | None) -> dict[str, FeatureBank | None]:
    """Suffix of FID's and KID's names -> where the features are kept; None where there is no network for them."""
    return {
        "": FeatureBank() if hasattr(judges, "features") else None,
        "_imagenet": None if imagenet is None else FeatureBank(imagenet),
    }


@dataclass(frozen=True)
class Numbers:
    """Every system's numbers by its name: the paper's, the others, and both by subgroup."""

    summaries: dict[str, Summary]
    further: dict[str, Summary]
    subgroups: dict[str, dict[str, Any]]

    def of(self, system: str) -> dict[str, Any]:
        """One system's part of metrics.json."""
        return {
            "metrics": as_numbers(self.summaries[system]),
            "further": as_numbers(self.further[system]),
            "subgroups": self.subgroups[system],
        }


def _summarise_systems(
    scores: Mapping[str, pandas.DataFrame],
    banks: Mapping[str, FeatureBank | None],
    journeys: pandas.DataFrame,
    *,
    settings: EvaluationSettings,
) -> Numbers:
    """Compute every number of every system on the same bootstrap replicates."""
    truth = read_truth(journeys, uncertain=settings.uncertain, unmentioned=settings.unmentioned)
    weights = draw_patient_weights(
        journeys["subject_id"].to_numpy(),
        replicates=settings.bootstrap,
        generator=np.random.default_rng(settings.seed),
    )
    further = {
        name: summarise_further(frame, weights=weights)
        | summarise_sets(banks[""], name, weights=weights, suffix="", without=NO_FEATURES)
        | summarise_sets(banks["_imagenet"], name, weights=weights, suffix="_imagenet", without=NO_IMAGENET)
        for name, frame in scores.items()
    }
    return Numbers(
        {name: summarise(frame, truth, weights=weights) for name, frame in scores.items()},
        further,
        {name: summarise_subgroups(frame, truth, journeys, weights=weights) for name, frame in scores.items()},
    )


def _describe(system: System, remarks: Remarks, every_journey: set[str]) -> dict[str, Any]:
    """Say what a system is, and what befell its images."""
    return {
        "name": system.name,
        "meaning": system.meaning,
        "made_by": system.provenance() if hasattr(system, "provenance") else {},
        "failures": dict(remarks.failures),
        "resized": remarks.resized,
        "unmatched": len(system.journey_ids() - every_journey) if hasattr(system, "journey_ids") else 0,
    }


def _compare_every_two(summaries: Mapping[str, Summary], further: Mapping[str, Summary]) -> list[dict[str, Any]]:
    """Paired differences of the paper's numbers and of the others, for every two systems."""
    return [
        {
            "one": one,
            "other": other,
            "metrics": compare(summaries[one], summaries[other]),
            "further": compare(further[one], further[other], metrics=FURTHER),
        }
        for one, other in combinations(summaries, 2)
    ]


def _add_neighbours(
    scores: dict[str, pandas.DataFrame],
    bank: FeatureBank | None,
    journeys: pandas.DataFrame,
    judges: Judges,
    *,
    work: Path,
    limit: int,
) -> dict[str, int]:
    """Add what the features tell of each image to the scores; say how many priors and training targets there were."""
    if bank is None:
        return {"priors": 0, "training_targets": 0}
    patients = journeys["subject_id"].to_numpy()
    targets = training_targets(work, judges, limit=limit) if limit else None
    for name, frame in scores.items():
        columns = neighbour_columns(bank, name, patients, targets=targets)
        frame[list(columns)] = columns.to_numpy()
    return {"priors": len(journeys), "training_targets": 0 if targets is None else len(targets[1])}


def choose_journeys(
    work: Path, counterfactuals: Counterfactuals | None, *, settings: EvaluationSettings
) -> tuple[pandas.DataFrame, dict[str, Any]]:
    """Choose the journeys that every system is scored on: kept ones of the split, with a sample if there are samples.

    Returns:
        Rows of pairs.parquet, and how many journeys there were, were dropped by reason, and are scored.
    """
    pairs = read_table(work / PAIRS_FILE, columns=PAIR_COLUMNS, made_by="register")
    of_split = pairs[pairs["split"] == settings.split]
    kept = of_split["kept"].astype(bool)
    dropped = Counter(str(reason) or "not kept" for reason in of_split.loc[~kept, "drop_reason"])
    chosen = of_split[kept]
    if counterfactuals is not None:
        sampled = chosen["journey_id"].isin(set(counterfactuals.rows))
        dropped["no counterfactual was sampled"] += int((~sampled).sum())
        chosen = chosen[sampled]
    if settings.limit and len(chosen) > settings.limit:
        dropped["over the limit"] += len(chosen) - settings.limit
        chosen = chosen.head(settings.limit)
    dropped = {reason: count for reason, count in dropped.items() if count}
    if chosen.empty:
        raise TableError(
            f"there must be a kept journey in the split {settings.split!r} to score",
            found=f"{len(of_split)} journeys, dropped: {dropped}",
            action="Look at `biomedjourney register` and `biomedjourney sample`, or choose another --split",
        )
    counts = {
        "journeys": len(of_split),
        "dropped": dropped,
        "scored": len(chosen),
        "patients": int(chosen["subject_id"].nunique()),
    }
    return chosen.reset_index(drop=True), counts


def _differences(summaries: dict[str, Summary], one: str, others: Sequence[str]) -> list[dict[str, Any]]:
    if one not in summaries:
        return []
    return [
        {"one": one, "other": other, "metrics": compare(summaries[one], summaries[other], metrics=COMPARED)}
        for other in others
    ]
