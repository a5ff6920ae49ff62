"""Descriptions that were checked: by rules, or by a language model with rules behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from biomedjourney_monai.preparation.descriptions.checker import check_description
from biomedjourney_monai.preparation.descriptions.evidence import Evidence
from biomedjourney_monai.preparation.descriptions.language_model import AnswerError, LanguageModel
from biomedjourney_monai.preparation.descriptions.progression import write_progression
from biomedjourney_monai.preparation.descriptions.prompt import read_answer

RULES, MODEL, REPORT = "rules", "language model", "report"

NOT_JSON = "answer not JSON of the schema"
NO_REPORT = "a study without a report"


@dataclass(frozen=True)
class Case:
    """Two studies to compare.

    Args:
        prior: the earlier study, with its whole text.
        new: the later one.
        prior_impression: what stands for the prior report; "" where there is none.
        new_impression: what stands for the new one.
        draw: attempt → the randomness of the wording; the content never depends on it.
    """

    prior: Evidence
    new: Evidence
    prior_impression: str
    new_impression: str
    draw: Callable[[int], np.random.Generator]


@dataclass(frozen=True)
class Written:
    """A description.

    Args:
        text: the description; "" where none passed the check.
        written_by: `RULES`, `MODEL` or `REPORT`.
        rejections: why earlier attempts were rejected, in order; several reasons for one attempt are joined by "; ".
        fell_back: whether the rules stood in for the language model.
    """

    text: str
    written_by: str
    rejections: tuple[str, ...] = ()
    fell_back: bool = False


def write_by_rules(case: Case, *, only_changes: float = 0.0) -> Written:
    """Write by rules, check, and write once more in other words where the check fails.

    Args:
        only_changes: chance that the description leaves out what is unchanged.
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
    """Ask the model, check, ask once more with the reasons, and fall back to the rules."""
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


def write_all(
    cases: Sequence[Case], write: Callable[[Case], Written], *, concurrency: int = 1, label: str = "descriptions"
) -> list[Written]:
    """Write every case's description, at most `concurrency` at once, in the order of the cases."""
    if concurrency == 1:
        return list(_with_progress(map(write, cases), len(cases), label))
    pool = ThreadPoolExecutor(concurrency)
    try:
        return list(_with_progress(pool.map(write, cases), len(cases), label))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _with_progress(items: Iterable[Written], total: int, label: str) -> Iterable[Written]:
    return tqdm(items, total=total, desc=label, unit=" pairs", mininterval=0.5)


@dataclass(frozen=True)
class Estimate:
    """What asking would take. Tokens are guessed at four characters each; prices are per million tokens."""

    requests: int
    answered: int
    input_tokens: int
    output_tokens: int
    cost: float = field(default=0.0)


def estimate(
    cases: Sequence[Case], model: LanguageModel, *, input_price: float = 0.0, output_price: float = 0.0
) -> Estimate:
    """Count what is still to be asked, at one request a pair (rejected answers take another), without asking."""
    requests = answered = characters = 0
    for case in cases:
        if case.prior_impression and case.new_impression:
            messages = model.prompt.write_messages(case.prior_impression, case.new_impression)
            if model.has_answer(messages):
                answered += 1
            else:
                requests += 1
                characters += sum(len(message["content"]) for message in messages)
    tokens_in, tokens_out = characters // 4, requests * 60
    cost = (tokens_in * input_price + tokens_out * output_price) / 1e6
    return Estimate(requests, answered, tokens_in, tokens_out, cost)
