"""Rows for training: registered pairs and reports → triples; studies with an image → single image–text pairs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from biomedjourney_monai.preparation.progression import write_progression, write_summary
from biomedjourney_monai.preparation.reports import read_report
from biomedjourney_monai.preparation.states import read_state
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


def build_triples(
    pairs: pd.DataFrame, *, text: str = "progression", seed: int = 0
) -> tuple[list[dict], dict[str, int]]:
    """Write one triple for each kept pair.

    Args:
        pairs: columns `schema.PAIR_COLUMNS`.
        text: "progression" describes the change; "impression" takes the new study's impression instead, the paper's
            ablation.
        seed: chooses the wording; a pair's wording does not depend on the other pairs.

    Returns:
        The rows, and the drops by reason. `source` is "reports" where both studies have one, else "labels".
    """
    drops: Counter[str] = Counter()
    triples = []
    for pair in tqdm(_rows(pairs), total=len(pairs), desc="triples", unit=" pairs", mininterval=0.5):
        if not pair["kept"]:
            drops["pair not kept by register"] += 1
            continue
        triple = _build_triple(pair, text, seed)
        if triple is None:
            drops["neither reports nor labels"] += 1
        else:
            triples.append(triple)
    return triples, dict(drops)


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


def _build_triple(pair: dict[str, Any], text: str, seed: int) -> dict[str, Any] | None:
    sections = {which: read_report(pair[f"{which}_report_path"]) for which in ("prior", "new")}
    impressions = {which: read.summary for which, read in sections.items()}
    states = {}
    for which, impression in impressions.items():
        labels = {label: pair[f"{which}_{label}"] for label in CHEXPERT_LABELS}
        if not impression and all(np.isnan(value) for value in labels.values()):
            return None
        details = sections[which].findings_section if sections[which].impression else ""
        states[which] = read_state(labels, impression, details=details)
    if text == "impression" and impressions["new"]:
        description = impressions["new"]
    else:
        rng = _rng(seed, pair["prior_study_id"], pair["new_study_id"])
        description = write_progression(states["prior"], states["new"], rng=rng)
    return {
        **{name: pair[name] for name in _COPIED},
        "prior_impression": impressions["prior"],
        "new_impression": impressions["new"],
        "progression_description": description,
        "source": "reports" if all(impressions.values()) else "labels",
    }


def _rng(seed: int, *keys: str) -> np.random.Generator:
    digest = hashlib.blake2b("/".join(keys).encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])


def _rows(table: pd.DataFrame) -> Iterable[dict[str, Any]]:
    columns = list(table.columns)
    return (dict(zip(columns, row)) for row in table.itertuples(index=False, name=None))
