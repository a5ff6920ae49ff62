"""Rows for training: registered pairs and reports → triples; studies with an image → single image–text pairs."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from biomedjourney_monai.preparation.descriptions.evidence import Evidence
from biomedjourney_monai.preparation.descriptions.progression import write_summary
from biomedjourney_monai.preparation.descriptions.writers import REPORT, Case, Written, write_all, write_by_rules
from biomedjourney_monai.preparation.reports.sections import Sections, read_report
from biomedjourney_monai.preparation.reports.states import read_state
from biomedjourney_monai.schema import CHEXPERT_LABELS, IMAGES_FOLDER

TEXTS = ("progression", "impression")

_COPIED = (
    "journey_id",
    "split",
    "days_between",
    "subject_id",
    "prior_study_id",
    "new_study_id",
    "prior_dicom_id",
    "new_dicom_id",
    "prior_image",
    "new_image",
    "valid_mask",
)


@dataclass
class Triples:
    """What `build_triples` made.

    Args:
        rows: of triples.jsonl.
        drops: pairs without a row, by reason.
        rejections: attempts that the checker or the service turned down, by reason.
        fell_back: rows of the rules where a language model was to write, by the first reason of its last attempt.
    """

    rows: list[dict[str, Any]]
    drops: dict[str, int]
    rejections: dict[str, int]
    fell_back: dict[str, int]


def build_triples(
    pairs: pd.DataFrame,
    *,
    text: str = "progression",
    seed: int = 0,
    write: Callable[[Case], Written] = write_by_rules,
    concurrency: int = 1,
) -> Triples:
    """Write one triple for each kept pair.

    Args:
        pairs: columns `schema.PAIR_COLUMNS`.
        text: "progression" describes the change; "impression" takes the new study's impression instead, the paper's
            ablation, and falls back on a description where there is none.
        seed: chooses the wording; a pair's wording does not depend on the other pairs.
        write: the writer.
        concurrency: how many descriptions are written at once.

    Returns:
        The rows with their counts. `source` is "reports" where both studies have one, else "labels"; `written_by` is
        "rules", "language model" or "report".
    """
    kept, cases, drops = read_cases(pairs, seed=seed)

    def write_one(case: Case) -> Written:
        if text == "impression" and case.new_impression:
            return Written(case.new_impression, REPORT)
        return write(case)

    rows, rejections, fell_back = [], Counter(), Counter()
    for pair, case, written in zip(kept, cases, write_all(cases, write_one, concurrency=concurrency, label="triples")):
        for rejection in written.rejections:
            rejections.update(rejection.split("; "))
        if written.fell_back:
            fell_back[written.rejections[-1].partition("; ")[0]] += 1
        if written.text:
            rows.append(_triple(pair, case, written))
        else:
            drops["no description passed the check"] += 1
    return Triples(rows, dict(drops), dict(rejections), dict(fell_back))


def read_cases(pairs: pd.DataFrame, *, seed: int = 0) -> tuple[list[dict[str, Any]], list[Case], Counter[str]]:
    """Read the reports and labels of each kept pair: pairs, cases in the same order, and drops by reason."""
    kept, cases, drops = [], [], Counter()
    for pair in tqdm(_rows(pairs), total=len(pairs), desc="reports", unit=" pairs", mininterval=0.5):
        if not pair["kept"]:
            drops["pair not kept by register"] += 1
            continue
        studies = {which: _read_study(pair, which) for which in ("prior", "new")}
        if not all(studies.values()):
            drops["neither reports nor labels"] += 1
            continue
        (prior, prior_impression), (new, new_impression) = studies["prior"], studies["new"]
        draw = partial(_draw, seed, pair["prior_study_id"], pair["new_study_id"])
        kept.append(pair)
        cases.append(Case(prior, new, prior_impression, new_impression, draw))
    return kept, cases, drops


def compare_reports(prior: Sections, new: Sections, *, seed: int = 0) -> Case:
    """Make a case of two reports without labels."""
    unlabelled = dict.fromkeys(CHEXPERT_LABELS, math.nan)
    return compare_studies(prior, unlabelled, new, unlabelled, seed=seed)


def compare_studies(
    prior: Sections, prior_labels: Mapping[str, float], new: Sections, new_labels: Mapping[str, float], *, seed: int = 0
) -> Case:
    """Make a case of two reports and their labels, CheXpert label → 1, 0, -1 or NaN; the texts choose the wording."""
    draw = partial(_draw, seed, prior.summary, new.summary)
    return Case(_evidence(prior_labels, prior), _evidence(new_labels, new), prior.summary, new.summary, draw)


def build_singles(studies: pd.DataFrame, work: Path, *, seed: int = 0) -> tuple[list[dict], dict[str, int]]:
    """Write one image–text pair for each study that has an image in images/.

    Args:
        studies: columns `schema.STUDY_COLUMNS`.
        work: the working folder.
        seed: chooses the wording where labels stand in for a missing report.
    """
    drops: Counter[str] = Counter()
    singles = []
    for study in tqdm(_rows(studies), total=len(studies), desc="singles", unit=" studies", mininterval=0.5):
        image = f"{IMAGES_FOLDER}/{study['dicom_id']}.png"
        if not (work / image).is_file():
            drops["no image"] += 1
            continue
        impression, source = read_report(study["report_path"]).summary, "reports"
        labels = {label: study[label] for label in CHEXPERT_LABELS}
        if not impression:
            if all(np.isnan(value) for value in labels.values()):
                drops["neither report nor labels"] += 1
                continue
            rng = _rng(seed, study["study_id"])
            impression, source = write_summary(read_state(labels, ""), rng=rng), "labels"
        copied = {name: study[name] for name in ("subject_id", "study_id", "dicom_id", "split")}
        singles.append({**copied, "image": image, "impression": impression, "source": source})
    return singles, dict(drops)


def _read_study(pair: dict[str, Any], which: str) -> tuple[Evidence, str] | None:
    sections = read_report(pair[f"{which}_report_path"])
    labels = {label: pair[f"{which}_{label}"] for label in CHEXPERT_LABELS}
    if not sections.summary and all(np.isnan(value) for value in labels.values()):
        return None
    return _evidence(labels, sections), sections.summary


def _evidence(labels: Mapping[str, float], sections: Sections) -> Evidence:
    details = sections.findings_section if sections.impression else ""
    return Evidence(read_state(labels, sections.summary, details=details), f"{sections.summary}\n{details}".strip())


def _triple(pair: dict[str, Any], case: Case, written: Written) -> dict[str, Any]:
    return {
        **{name: pair[name] for name in _COPIED},
        "prior_impression": case.prior_impression,
        "new_impression": case.new_impression,
        "progression_description": written.text,
        "source": "reports" if case.prior_impression and case.new_impression else "labels",
        "written_by": written.written_by,
    }


def _draw(seed: int, prior_key: str, new_key: str, attempt: int) -> np.random.Generator:
    return _rng(seed, prior_key, new_key, *(["again"] * attempt))


def _rng(seed: int, *keys: str) -> np.random.Generator:
    digest = hashlib.blake2b("/".join(keys).encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])


def _rows(table: pd.DataFrame) -> Iterable[dict[str, Any]]:
    columns = list(table.columns)
    return (dict(zip(columns, row)) for row in table.itertuples(index=False, name=None))
