"""The description stage: pairs.parquet and reports → triples.jsonl and singles.jsonl.

Also written: describe_drops.json (counts) and describe_provenance.json (what decided the descriptions).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from biomedjourney_monai import __version__
from biomedjourney_monai.errors import ConfigError, SettingError, TableError
from biomedjourney_monai.files import read_table, write_json, write_json_lines
from biomedjourney_monai.preparation.descriptions.cases import Case, read_case, read_cases
from biomedjourney_monai.preparation.descriptions.language_model import LanguageModel, LanguageModelSettings
from biomedjourney_monai.preparation.descriptions.rows import (
    REPORT,
    TEXTS,
    Estimate,
    Written,
    build_singles,
    build_triples,
    estimate,
    write_by_rules,
    write_with_model,
)
from biomedjourney_monai.schema import PAIR_COLUMNS, PAIRS_FILE, SINGLES_FILE, STUDIES_FILE, STUDY_COLUMNS, TRIPLES_FILE

CACHE_FILE = "descriptions.sqlite"
COUNTS_FILE = "describe_drops.json"
PROVENANCE_FILE = "describe_provenance.json"


@dataclass(frozen=True)
class DescribedPairs:
    """The result of a description run.

    Args:
        triples: path of triples.jsonl.
        singles: path of singles.jsonl.
        counts: as in describe_drops.json.
    """

    triples: Path
    singles: Path
    counts: dict[str, Any]


def describe_pairs(
    work: str | Path = "work",
    *,
    text: str = "progression",
    seed: int = 0,
    only_changes: float = 0.0,
    model: LanguageModelSettings | None = None,
) -> DescribedPairs:
    """Describe what changed between the two reports of each kept pair, and write the rows for training.

    Args:
        work: the working folder with studies.parquet and pairs.parquet.
        text: "progression" describes the change; "impression" takes the new study's impression.
        seed: chooses the wording, >= 0.
        only_changes: share of the descriptions by rules that leave out what is unchanged, in [0, 1].
        model: a language model to write instead of the rules; every description is checked, and the rules write what
            fails twice. Answers are cached, so that a stopped run resumes.

    Raises:
        ConfigError: if a setting is out of range, or settings contradict each other.
        TableError: if a table is missing, or no pair could be described.
    """
    _check(text, seed, only_changes, model)
    work = Path(work)
    studies = read_table(work / STUDIES_FILE, columns=STUDY_COLUMNS, made_by="cohort")
    pairs = read_table(work / PAIRS_FILE, columns=PAIR_COLUMNS, made_by="register")
    asked = model.open(work / CACHE_FILE) if model else None
    triples = build_triples(
        pairs,
        text=text,
        seed=seed,
        write=_writer(asked, only_changes),
        concurrency=model.concurrency if model else 1,
        views=dict(zip(studies["study_id"], studies["view_position"])),
    )
    singles, single_drops = build_singles(studies, work, seed=seed)
    rows = triples.rows
    if not rows:
        raise TableError("some pairs must be described", found=f"dropped: {triples.drops}", action="Run register again")
    write_json_lines(work / TRIPLES_FILE, rows)
    write_json_lines(work / SINGLES_FILE, singles)
    counts = {
        "triples": len(rows),
        "triples_from_labels": sum(row["source"] == "labels" for row in rows),
        "triples_dropped": triples.drops,
        "triples_written_by": Counter(row["written_by"] for row in rows),
        "attempts_rejected": triples.rejections,
        "fell_back_on_rules": triples.fell_back,
        "singles": len(singles),
        "singles_from_labels": sum(single["source"] == "labels" for single in singles),
        "singles_dropped": single_drops,
        "mean_characters": sum(len(row["progression_description"]) for row in rows) / len(rows),
    }
    write_json(work / COUNTS_FILE, counts)
    write_json(work / PROVENANCE_FILE, _provenance(text, seed, only_changes, asked))
    return DescribedPairs(work / TRIPLES_FILE, work / SINGLES_FILE, counts)


def describe_reports(
    prior_report: str | Path,
    new_report: str | Path,
    *,
    text: str = "progression",
    seed: int = 0,
    only_changes: float = 0.0,
    model: LanguageModelSettings | None = None,
) -> Written:
    """Describe what changed between two report files, the earlier one first; other arguments as for `describe_pairs`.

    Raises:
        ConfigError: if a setting is out of range, or settings contradict each other.
        TableError: if a file holds no report, or no description passed the check.
    """
    _check(text, seed, only_changes, model)
    case = read_case(prior_report, new_report, seed=seed)
    if text == "impression":
        return Written(case.new_impression, REPORT)
    written = _writer(model.open(":memory:") if model else None, only_changes)(case)
    if not written.text:
        reasons = "; ".join(written.rejections)
        raise TableError("a description must agree with both reports", found=f"none after two attempts: {reasons}")
    return written


def estimate_requests(
    model: LanguageModelSettings,
    *,
    work: str | Path = "work",
    reports: tuple[str | Path, str | Path] | None = None,
    seed: int = 0,
    input_price: float = 0.0,
    output_price: float = 0.0,
) -> Estimate:
    """Estimate the requests, tokens and cost of a run with a language model; nothing is asked or written.

    Args:
        model: the service.
        work: the working folder with pairs.parquet.
        reports: two report files, the earlier one first, instead of the working folder.
        seed: of the run.
        input_price: per million tokens read.
        output_price: per million tokens written.
    """
    model.check(asks=False)
    cache: str | Path = ":memory:"
    if reports:
        cases = [read_case(*reports, seed=seed)]
    else:
        cache = Path(work) / CACHE_FILE
        pairs: pd.DataFrame = read_table(Path(work) / PAIRS_FILE, columns=PAIR_COLUMNS, made_by="register")
        cases = read_cases(pairs, seed=seed)[1]
    return estimate(cases, model.open(cache, asks=False), input_price=input_price, output_price=output_price)


def _check(text: str, seed: int, only_changes: float, model: LanguageModelSettings | None) -> None:
    if text not in TEXTS:
        raise SettingError("text", f"must be one of {', '.join(TEXTS)}", found=repr(text))
    if seed < 0:
        raise SettingError("seed", "must be >= 0", found=str(seed))
    if not 0 <= only_changes <= 1:
        raise SettingError("only_changes", "must be in [0, 1]", found=str(only_changes))
    if only_changes and (model or text != "progression"):
        writer = "language-model" if model else "rules"
        raise ConfigError(
            "--only-changes needs --writer rules and --text progression", found=f"--writer {writer} --text {text}"
        )
    if model:
        model.check()


def _writer(model: LanguageModel | None, only_changes: float) -> Callable[[Case], Written]:
    if model:
        return partial(write_with_model, model=model)
    return partial(write_by_rules, only_changes=only_changes)


def _provenance(text: str, seed: int, only_changes: float, model: LanguageModel | None) -> dict[str, Any]:
    """What decided the descriptions, an attestation included."""
    writer = "language-model" if model else "rules"
    record: dict[str, Any] = {"writer": writer, "text": text, "seed": seed, "version": __version__}
    if only_changes:
        record["only_changes"] = only_changes
    if model:
        record |= {"model": model.model, "usage": asdict(model.usage), "endpoint": model.endpoint.provenance()}
        record |= {"prompt_version": model.prompt.version, "prompt_digest": model.prompt.digest}
    return record
