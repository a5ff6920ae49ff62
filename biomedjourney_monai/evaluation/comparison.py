"""Score the systems of a working folder on the same journeys, and compare them by every measure."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas

from biomedjourney_monai.evaluation.journeys import EvaluationSettings, choose_journeys
from biomedjourney_monai.evaluation.judges.feature_bank import Extractor, FeatureBank, training_targets
from biomedjourney_monai.evaluation.judges.judged import Scorer
from biomedjourney_monai.evaluation.judges.scores import Judges
from biomedjourney_monai.evaluation.metrics.bootstrap import draw_patient_weights
from biomedjourney_monai.evaluation.metrics.effectiveness import Effectiveness
from biomedjourney_monai.evaluation.metrics.feature_sets import IMAGENET
from biomedjourney_monai.evaluation.metrics.labels import read_truth
from biomedjourney_monai.evaluation.metrics.measure import Scored
from biomedjourney_monai.evaluation.metrics.neighbours import neighbour_columns
from biomedjourney_monai.evaluation.metrics.registry import FURTHER_MEASURES, PAPER_MEASURES
from biomedjourney_monai.evaluation.metrics.severity import AskedSeverity
from biomedjourney_monai.evaluation.metrics.sides import SideCorrectness
from biomedjourney_monai.evaluation.metrics.statistic import Summary, as_numbers, compare
from biomedjourney_monai.evaluation.metrics.target_change import TargetChange
from biomedjourney_monai.evaluation.metrics.truth_error import TruthError
from biomedjourney_monai.evaluation.subgroups import summarise_subgroups
from biomedjourney_monai.evaluation.systems.asked_findings import AskedFindings
from biomedjourney_monai.evaluation.systems.scoring import Remarks, score_systems
from biomedjourney_monai.evaluation.systems.sources import (
    COUNTERFACTUAL,
    CopyPrior,
    RealReference,
    System,
    read_counterfactuals,
)
from biomedjourney_monai.evaluation.systems.true_counterfactuals import TrueCounterfactuals
from biomedjourney_monai.files import read_table
from biomedjourney_monai.schema import PAIRS_FILE, SAMPLES_FOLDER

IN_DIFFERENCES = [measure.key for measure in PAPER_MEASURES if measure.in_differences]
Banks = Mapping[str, FeatureBank]
"""Suffix of the set measures' keys -> features of every system's images."""


def compare_systems(
    work: Path,
    judges: Judges,
    *,
    settings: EvaluationSettings,
    others: Sequence[System] = (),
    asked: AskedFindings | None = None,
    truth: TrueCounterfactuals | None = None,
    imagenet: Extractor | None = None,
    targets: int = 0,
) -> tuple[dict[str, Any], pandas.DataFrame]:
    """Score the baselines, the folder's samples if there are any, and other systems, on the same journeys.

    Without an optional input, the measures that need it are null, with the reason. `targets` is how many images of
    training journeys to look for copies of.

    Returns:
        The content of metrics.json, and the scores per journey and system.

    Raises:
        TableError: if the tables are missing or unusable, or no journey is left to score.
    """
    counterfactuals = read_counterfactuals(work / SAMPLES_FOLDER)
    journeys, counts = choose_journeys(work, counterfactuals, split=settings.split, limit=settings.limit)
    model = [] if counterfactuals is None else [counterfactuals]
    goal = [] if truth is None else [truth]
    systems: list[System] = [CopyPrior(work), *model, RealReference(work), *others, *goal]
    banks = {"": FeatureBank()} if hasattr(judges, "features") else {}
    banks |= {} if imagenet is None else {IMAGENET: FeatureBank(imagenet)}
    scorers: list[Scorer] = []
    if asked is not None:
        scorers = [kind(asked) for kind in (SideCorrectness, AskedSeverity, TargetChange, Effectiveness)]
    scorers += [*([] if truth is None else [TruthError(truth)]), *banks.values()]
    scores, remarks = score_systems(journeys, systems, judges, work=work, scorers=scorers)
    galleries = _add_neighbours(scores, banks.get(""), journeys, judges, work=work, limit=targets)
    content = {
        "settings": vars(settings),
        "counts": counts,
        "galleries": galleries,
        "judges": judges.provenance(),
        "model": {} if counterfactuals is None else counterfactuals.provenance(),
    }
    content |= _numbers(work, systems, scores, remarks, banks, journeys, settings)
    return content, pandas.concat(scores, names=["system"]).reset_index()


def _numbers(
    work: Path,
    systems: Sequence[System],
    scores: Mapping[str, pandas.DataFrame],
    remarks: Mapping[str, Remarks],
    banks: Banks,
    journeys: pandas.DataFrame,
    settings: EvaluationSettings,
) -> dict[str, Any]:
    """The sections `systems`, `differences` and `comparisons` of metrics.json."""
    paper, further, subgroups = _summarise_systems(scores, banks, journeys, settings=settings)
    every_journey = set(read_table(work / PAIRS_FILE, columns=["journey_id"], made_by="register")["journey_id"])
    return {
        "systems": [
            _describe(system, remarks[system.name], every_journey)
            | {
                "metrics": as_numbers(paper[system.name]),
                "further": as_numbers(further[system.name]),
                "subgroups": subgroups[system.name],
            }
            for system in systems
        ],
        "differences": [
            {
                "one": COUNTERFACTUAL,
                "other": other,
                "metrics": compare(paper[COUNTERFACTUAL], paper[other], metrics=IN_DIFFERENCES),
            }
            for other in (CopyPrior.name, RealReference.name)
            if COUNTERFACTUAL in paper
        ],
        "comparisons": [
            {
                "one": one,
                "other": other,
                "metrics": compare(paper[one], paper[other], metrics=list(paper[one])),
                "further": compare(further[one], further[other], metrics=list(further[one])),
            }
            for one, other in combinations(paper, 2)
        ],
    }


def _summarise_systems(
    scores: Mapping[str, pandas.DataFrame], banks: Banks, journeys: pandas.DataFrame, *, settings: EvaluationSettings
) -> tuple[dict[str, Summary], dict[str, Summary], dict[str, dict[str, Any]]]:
    """Every system's paper measures, further measures and both by subgroup, on the same bootstrap replicates."""
    truth = read_truth(journeys, uncertain=settings.uncertain, unmentioned=settings.unmentioned)
    weights = draw_patient_weights(journeys["subject_id"], replicates=settings.bootstrap, seed=settings.seed)
    scored = {
        name: Scored(
            frame,
            truth,
            weights,
            {suffix: (bank.of(name), bank.of(RealReference.name)) for suffix, bank in banks.items()},
        )
        for name, frame in scores.items()
    }
    paper, further = (
        {name: {measure.key: own.statistics(measure) for measure in measures} for name, own in scored.items()}
        for measures in (PAPER_MEASURES, FURTHER_MEASURES)
    )
    return paper, further, {name: summarise_subgroups(own, journeys) for name, own in scored.items()}


def _describe(system: System, remarks: Remarks, every_journey: set[str]) -> dict[str, Any]:
    """The system's name, meaning and provenance, and the failures of its images."""
    return {
        "name": system.name,
        "meaning": system.meaning,
        "made_by": system.provenance() if hasattr(system, "provenance") else {},
        "failures": dict(remarks.failures),
        "resized": remarks.resized,
        "unmatched": len(system.journey_ids() - every_journey) if hasattr(system, "journey_ids") else 0,
    }


def _add_neighbours(
    scores: dict[str, pandas.DataFrame],
    bank: FeatureBank | None,
    journeys: pandas.DataFrame,
    judges: Judges,
    *,
    work: Path,
    limit: int,
) -> dict[str, int]:
    """Add the measures of nearest images to the scores; return the number of priors and of training targets."""
    if bank is None:
        return {"priors": 0, "training_targets": 0}
    patients = journeys["subject_id"].to_numpy()
    targets = training_targets(work, judges, limit=limit) if limit else None
    priors, references = (bank.of(name) for name in (CopyPrior.name, RealReference.name))
    for name, frame in scores.items():
        columns = neighbour_columns(bank.of(name), priors, references, patients, targets=targets)
        frame[list(columns.columns)] = columns.to_numpy()
    return {"priors": len(journeys), "training_targets": 0 if targets is None else len(targets[1])}
