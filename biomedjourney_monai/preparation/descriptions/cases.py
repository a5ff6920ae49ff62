"""A case to describe: two studies of one patient, from their reports and labels."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.preparation.descriptions.checker import Evidence
from biomedjourney_monai.preparation.reports.sections import Sections, read_report
from biomedjourney_monai.preparation.reports.statements import says_something
from biomedjourney_monai.preparation.reports.states import read_state
from biomedjourney_monai.schema import CHEXPERT_LABELS

NO_LABELS: Mapping[str, float] = dict.fromkeys(CHEXPERT_LABELS, math.nan)


@dataclass(frozen=True)
class _Study:
    """A study as its pairs use it, and why it cannot be described, or ""."""

    summary: str
    evidence: Evidence
    fault: str


@dataclass(frozen=True)
class Case:
    """Two studies to compare.

    Args:
        prior: the earlier study, with its whole text.
        new: the later one.
        prior_impression: the text that stands for the prior report; "" if there is none.
        new_impression: the same for the new report.
        draw: attempt → random generator of the wording; the content never depends on it.
    """

    prior: Evidence
    new: Evidence
    prior_impression: str
    new_impression: str
    draw: Callable[[int], np.random.Generator]


def read_cases(pairs: pd.DataFrame, *, seed: int = 0) -> tuple[list[dict[str, Any]], list[Case], Counter[str]]:
    """Read the reports and labels of each kept pair; the seed and the two study_ids choose the wording.

    Returns:
        The rows of `pairs` that have a case, the cases in the same order, and the dropped pairs by reason.
    """
    kept, cases = [], []
    drops: Counter[str] = Counter()
    read: dict[str, _Study] = {}  # a study is the new one of a pair and the prior of the next
    for pair in tqdm(rows_of(pairs), total=len(pairs), desc="reports", unit=" pairs", mininterval=0.5):
        if not pair["kept"]:
            drops["pair not kept by register"] += 1
            continue
        keys = (pair["prior_study_id"], pair["new_study_id"])
        for which, study_id in zip(("prior", "new"), keys):
            if study_id not in read:
                read[study_id] = _read_study(pair, which)
        prior, new = (read[study_id] for study_id in keys)
        faults = {prior.fault, new.fault} - {""}
        if faults:
            drops[min(faults)] += 1
            continue
        kept.append(pair)
        cases.append(Case(prior.evidence, new.evidence, prior.summary, new.summary, partial(_draw, seed, keys)))
    return kept, cases, drops


def _read_study(pair: Mapping[str, Any], which: str) -> _Study:
    labels = {label: pair[f"{which}_{label}"] for label in CHEXPERT_LABELS}
    sections, fault = read_report(pair[f"{which}_report_path"]), ""
    if is_unlabelled(labels) and not (sections.summary and says_something(sections.text)):
        fault = "report not understood" if sections.summary else "neither reports nor labels"
    return _Study(sections.summary, _evidence(labels, sections), fault)


def read_case(prior_report: str | Path, new_report: str | Path, *, seed: int = 0) -> Case:
    """Make a case of two report files, the earlier one first; a TableError names the file without a report."""
    prior, new = read_report(prior_report), read_report(new_report)
    for option, report in (("--prior-report", prior), ("--new-report", new)):
        if not report.summary:
            raise TableError(f"{option} must name a readable text file with a report in it", found="no text")
        if not says_something(report.text):
            raise TableError(
                f"{option} must say in English what the chest shows",
                found="no finding, and no word that there is none",
                action="It cannot be described. Pass a report with its findings or its impression",
            )
    return compare_reports(prior, new, seed=seed)


def compare_reports(
    prior: Sections,
    new: Sections,
    prior_labels: Mapping[str, float] = NO_LABELS,
    new_labels: Mapping[str, float] = NO_LABELS,
    *,
    seed: int = 0,
    keys: tuple[str, str] | None = None,
) -> Case:
    """Make a case of two reports and their labels, CheXpert label → 1, 0, -1 or NaN.

    Args:
        seed: chooses the wording, together with `keys`.
        keys: name the two studies; None takes their texts.
    """
    keys = keys or (prior.summary, new.summary)
    draw = partial(_draw, seed, keys)
    return Case(_evidence(prior_labels, prior), _evidence(new_labels, new), prior.summary, new.summary, draw)


def is_unlabelled(labels: Mapping[str, float]) -> bool:
    """Whether a study has no labels at all."""
    return all(math.isnan(value) for value in labels.values())


def wording_rng(seed: int, *keys: str) -> np.random.Generator:
    """The random generator of a wording; it depends on nothing but the seed and the keys."""
    digest = hashlib.blake2b("/".join(keys).encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])


def rows_of(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Give each row of a table by column name, with Python's own types."""
    names = list(table.columns)
    return (dict(zip(names, row)) for row in zip(*(table[name].tolist() for name in names)))


def _draw(seed: int, keys: tuple[str, str], attempt: int) -> np.random.Generator:
    return wording_rng(seed, *keys, *(["again"] * attempt))


def _evidence(labels: Mapping[str, float], sections: Sections) -> Evidence:
    details = f"{sections.findings_section if sections.impression else ''}\n{sections.addendum}".strip()
    return Evidence(read_state(labels, sections.summary, details=details), sections.text)
