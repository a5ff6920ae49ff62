"""Rows for training: registered pairs and reports → triples; studies with an image → single image–text pairs."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
from tqdm import tqdm

from biomedjourney_monai.preparation.descriptions.cases import Case, is_unlabelled, read_cases, rows_of, wording_rng
from biomedjourney_monai.preparation.descriptions.progression import write_summary
from biomedjourney_monai.preparation.descriptions.writers import REPORT, Written, write_all, write_by_rules
from biomedjourney_monai.preparation.reports.sections import read_report
from biomedjourney_monai.preparation.reports.states import read_state
from biomedjourney_monai.schema import CHEXPERT_LABELS, IMAGES_FOLDER

VIEW_SENTENCES = {"AP": "AP view.", "PA": "PA view."}
"""View of the described film → the sentence that states it. A PA film is the rule, so it is stated after an AP film."""

TEXTS = ("progression", "impression")

_COPIED = (
    *("journey_id", "split", "days_between", "subject_id", "prior_study_id", "new_study_id"),
    *("prior_dicom_id", "new_dicom_id", "prior_image", "new_image", "valid_mask"),
)


@dataclass
class Triples:
    """The result of `build_triples`.

    Args:
        rows: of triples.jsonl.
        drops: pairs without a row, by reason.
        rejections: rejected attempts, by reason.
        fell_back: rows that the rules wrote in place of the language model, by the first reason of its last attempt.
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
    views: Mapping[str, str] = MappingProxyType({}),
) -> Triples:
    """Write one triple for each kept pair of a table with columns `schema.PAIR_COLUMNS`.

    Args:
        text: "progression" describes the change; "impression" takes the new study's impression instead, which is the
            paper's ablation, and describes the change only if there is none.
        seed: chooses the wording; a pair's wording does not depend on the other pairs.
        concurrency: number of descriptions written at once.
        views: study_id → view_position; the view is stated where it is AP, or was AP before.

    Returns:
        The rows with their counts. `source` is "reports" if both studies have one, else "labels"; `written_by` is
        "rules", "language model" or "report".
    """
    kept, cases, drops = read_cases(pairs, seed=seed)

    def write_one(case: Case) -> Written:
        if text == "impression" and case.new_impression:
            return Written(case.new_impression, REPORT)
        return write(case)

    rows = []
    rejections: Counter[str] = Counter()
    fell_back: Counter[str] = Counter()
    for pair, case, written in zip(kept, cases, write_all(cases, write_one, concurrency=concurrency)):
        for rejection in written.rejections:
            rejections.update(rejection.split("; "))
        if written.fell_back:
            fell_back[written.rejections[-1].partition("; ")[0]] += 1
        if written.text:
            prior_view, new_view = (views.get(pair[f"{which}_study_id"], "") for which in ("prior", "new"))
            view = "" if "AP" not in (prior_view, new_view) else VIEW_SENTENCES.get(new_view, "")
            rows.append(_triple(pair, case, written, view))
        else:
            drops["no description passed the check"] += 1
    return Triples(rows, dict(drops), dict(rejections), dict(fell_back))


def build_singles(studies: pd.DataFrame, work: Path, *, seed: int = 0) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Write one image–text pair for each study that has an image in images/; the seed chooses the wording.

    Returns:
        The rows of singles.jsonl, and the studies without a row by reason.
    """
    drops: Counter[str] = Counter()
    singles = []
    for study in tqdm(rows_of(studies), total=len(studies), desc="singles", unit=" studies", mininterval=0.5):
        image = f"{IMAGES_FOLDER}/{study['dicom_id']}.png"
        if not (work / image).is_file():
            drops["no image"] += 1
            continue
        impression, source = read_report(study["report_path"]).summary, "reports"
        if not impression:
            labels = {label: study[label] for label in CHEXPERT_LABELS}
            if is_unlabelled(labels):
                drops["neither report nor labels"] += 1
                continue
            rng = wording_rng(seed, study["study_id"])
            impression, source = write_summary(read_state(labels, ""), rng=rng), "labels"
        if study["view_position"] == "AP":
            impression += f" {VIEW_SENTENCES['AP']}"
        copied = {name: study[name] for name in ("subject_id", "study_id", "dicom_id", "split")}
        singles.append({**copied, "image": image, "impression": impression, "source": source})
    return singles, dict(drops)


def _triple(pair: dict[str, Any], case: Case, written: Written, view: str) -> dict[str, Any]:
    return {
        **{name: pair[name] for name in _COPIED},
        "prior_impression": case.prior_impression,
        "new_impression": case.new_impression,
        "progression_description": f"{written.text} {view}".strip(),
        "source": "reports" if case.prior_impression and case.new_impression else "labels",
        "written_by": written.written_by,
    }
