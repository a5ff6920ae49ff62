"""Rows for training with checked descriptions: by rules, or by a language model with the rules as fallback.

Registered pairs and reports become triples; studies with an image become single image–text pairs.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
from tqdm import tqdm

from biomedjourney_monai.preparation.descriptions.cases import Case, is_unlabelled, read_cases, rows_of, wording_rng
from biomedjourney_monai.preparation.descriptions.checker import check_description
from biomedjourney_monai.preparation.descriptions.language_model import AnswerError, LanguageModel, read_answer
from biomedjourney_monai.preparation.descriptions.progression import write_progression, write_summary
from biomedjourney_monai.preparation.reports.sections import read_report
from biomedjourney_monai.preparation.reports.states import read_state
from biomedjourney_monai.schema import CHEXPERT_LABELS, IMAGES_FOLDER

RULES, MODEL, REPORT = "rules", "language model", "report"

NOT_JSON = "answer not JSON of the schema"
NO_REPORT = "a study without a report"
TOKENS_PER_ANSWER = 60
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Written:
    """A description.

    Args:
        text: the description; "" if none passed the check.
        written_by: `RULES`, `MODEL` or `REPORT`.
        rejections: why earlier attempts were rejected, in order; several reasons for one attempt are joined by "; ".
        fell_back: whether the rules replaced the language model.
    """

    text: str
    written_by: str
    rejections: tuple[str, ...] = ()
    fell_back: bool = False


def write_by_rules(case: Case, *, only_changes: float = 0.0) -> Written:
    """Write by rules and check; where the check fails, write once more in other words.

    `only_changes` is the probability that the description leaves out what is unchanged.
    """
    rejections: list[str] = []
    for attempt in range(2):
        rng = case.draw(attempt)
        leave_out = only_changes > 0 and rng.random() < only_changes
        text = write_progression(case.prior.state, case.new.state, rng=rng, only_changes=leave_out)
        reasons = check_description(text, case.prior, case.new)
        if not reasons:
            return Written(text, RULES, tuple(rejections))
        rejections.append("; ".join(reasons))
    return Written("", RULES, tuple(rejections))


def write_with_model(case: Case, model: LanguageModel) -> Written:
    """Ask the model and check; ask once more with the reasons of a rejection; then fall back to the rules."""
    if not case.prior_impression or not case.new_impression:
        return _fall_back(case, [NO_REPORT])
    rejections: list[str] = []
    messages = model.prompt.write_messages(case.prior_impression, case.new_impression)
    for _attempt in range(2):
        try:
            content = model.ask(messages)
        except AnswerError as error:
            return _fall_back(case, [*rejections, str(error)])
        text = read_answer(content)
        reasons = [NOT_JSON] if text is None else check_description(text, case.prior, case.new)
        if not reasons:
            return Written(str(text), MODEL, tuple(rejections))
        rejections.append("; ".join(reasons))
        messages = model.prompt.write_rejection(messages, content, reasons)
    return _fall_back(case, rejections)


def _fall_back(case: Case, rejections: Sequence[str]) -> Written:
    written = write_by_rules(case)
    return Written(written.text, RULES, (*rejections, *written.rejections), fell_back=True)


def write_all(cases: Sequence[Case], write: Callable[[Case], Written], *, concurrency: int = 1) -> list[Written]:
    """Write every case's description, at most `concurrency` at once, in the order of the cases."""

    def show(items: Iterable[Written]) -> Iterable[Written]:
        return tqdm(items, total=len(cases), desc="triples", unit=" pairs", mininterval=0.5)

    if concurrency == 1:
        return list(show(map(write, cases)))
    pool = ThreadPoolExecutor(concurrency)
    try:
        return list(show(pool.map(write, cases)))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class Estimate:
    """What the requests would take.

    Args:
        requests: still to ask.
        answered: already in the cache.
        input_tokens: to read, estimated at four characters each.
        output_tokens: to write, estimated.
        cost: at the given prices.
    """

    requests: int
    answered: int
    input_tokens: int
    output_tokens: int
    cost: float


def estimate(
    cases: Sequence[Case], model: LanguageModel, *, input_price: float = 0.0, output_price: float = 0.0
) -> Estimate:
    """Estimate the requests that are left, one for each pair (a rejected answer takes another), without asking.

    Prices are per million tokens.
    """
    requests = answered = characters = 0
    for case in cases:
        if case.prior_impression and case.new_impression:
            messages = model.prompt.write_messages(case.prior_impression, case.new_impression)
            if model.has_answer(messages):
                answered += 1
            else:
                requests += 1
                characters += sum(len(message["content"]) for message in messages)
    tokens_in, tokens_out = characters // CHARACTERS_PER_TOKEN, requests * TOKENS_PER_ANSWER
    return Estimate(
        requests, answered, tokens_in, tokens_out, (tokens_in * input_price + tokens_out * output_price) / 1e6
    )


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
            paper's ablation; of a study that has none, the findings in its labels.
        seed: chooses the wording; a pair's wording does not depend on the other pairs.
        concurrency: number of descriptions written at once.
        views: study_id → view_position; the view is stated where it is AP, or was AP before.

    Returns:
        The rows with their counts. `source` is "reports" if both studies have one, else "labels"; `written_by` is
        "rules", "language model" or "report".
    """
    kept, cases, drops = read_cases(pairs, seed=seed)

    def write_one(case: Case) -> Written:
        if text == "progression":
            return write(case)
        if case.new_impression:
            return Written(case.new_impression, REPORT)
        return Written(write_summary(case.new.state, rng=case.draw(0)), RULES)

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
