"""Score the systems of a working folder on the same journeys, and compare them by every measure, also in subgroups."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from biomedjourney_monai.evaluation.journeys import EvaluationSettings, choose_journeys
from biomedjourney_monai.evaluation.judges.feature_bank import Extractor, FeatureBank, training_targets
from biomedjourney_monai.evaluation.judges.judged import Scorer
from biomedjourney_monai.evaluation.judges.scores import Judges
from biomedjourney_monai.evaluation.metrics.effectiveness import Effectiveness
from biomedjourney_monai.evaluation.metrics.feature_sets import IMAGENET, neighbour_columns
from biomedjourney_monai.evaluation.metrics.labels import RACE_GROUPS, race_group, read_truth
from biomedjourney_monai.evaluation.metrics.measure import Scored
from biomedjourney_monai.evaluation.metrics.registry import FURTHER_MEASURES, PAPER_MEASURES
from biomedjourney_monai.evaluation.metrics.severity import AskedSeverity
from biomedjourney_monai.evaluation.metrics.sides import SideCorrectness
from biomedjourney_monai.evaluation.metrics.statistic import OVERALL, Summary, as_numbers, compare, draw_patient_weights
from biomedjourney_monai.evaluation.metrics.target_change import TargetChange
from biomedjourney_monai.evaluation.metrics.truth_error import TruthError
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

AGE_BANDS = (("under 40", 0, 40), ("40 to 59", 40, 60), ("60 to 74", 60, 75), ("75 and over", 75, np.inf))
"""Name, from (inclusive), to (exclusive), in years of anchor age."""

UNKNOWN = "unknown"


def subgroups_of(journeys: pandas.DataFrame) -> dict[str, dict[str, np.ndarray]]:
    """Divide N journeys by sex, age and race of the patient.

    Returns:
        Attribute -> group -> bool (N,). Groups without a journey are absent; "unknown" holds the journeys without the
        attribute, or of a race outside RACE_GROUPS.
    """
    age = journeys["anchor_age"].to_numpy(np.float64)
    sex = journeys["sex"].astype(str).str.upper().to_numpy()
    race = np.array([race_group(name) for name in journeys["race"]], dtype=object)
    divisions = {
        "sex": {name: sex == name for name in ("F", "M")},
        "age": {name: (age >= low) & (age < high) for name, low, high in AGE_BANDS},
        "race": {name: race == index for index, name in enumerate(RACE_GROUPS)},
    }
    for groups in divisions.values():
        groups[UNKNOWN] = ~np.any(list(groups.values()), axis=0)
    return {
        attribute: {name: np.asarray(rows, bool) for name, rows in groups.items() if np.any(rows)}
        for attribute, groups in divisions.items()
    }


def summarise_subgroups(scored: Scored, journeys: pandas.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """The overall number of every measure in every subgroup, on the same bootstrap replicates.

    Returns:
        Attribute -> group -> journeys, patients, and the numbers under `metrics` and `further`. Measures of whole sets
        are left out.
    """
    return {
        attribute: {name: _summarise(scored, journeys, rows) for name, rows in groups.items()}
        for attribute, groups in subgroups_of(journeys).items()
    }


def _summarise(scored: Scored, journeys: pandas.DataFrame, rows: np.ndarray) -> dict[str, Any]:
    own = Scored(scored.scores[rows], scored.labels().rows(rows), scored.weights[:, rows])
    numbers: dict[str, Any] = {measure.section: {} for measure in (*PAPER_MEASURES, *FURTHER_MEASURES)}
    for measure in (*PAPER_MEASURES, *FURTHER_MEASURES):
        if not measure.of_sets:
            numbers[measure.section][measure.key] = own.statistics(measure)[OVERALL].as_number()
    return {
        "journeys": int(rows.sum()),
        "patients": int(journeys.loc[rows, "subject_id"].nunique()),
        **numbers,
    }


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
