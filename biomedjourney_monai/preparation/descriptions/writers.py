"""Checked descriptions: by rules, or by a language model with the rules as fallback."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tqdm import tqdm

from biomedjourney_monai.preparation.descriptions.cases import Case
from biomedjourney_monai.preparation.descriptions.checker import check_description
from biomedjourney_monai.preparation.descriptions.language_model import AnswerError, LanguageModel
from biomedjourney_monai.preparation.descriptions.progression import write_progression
from biomedjourney_monai.preparation.descriptions.prompt import read_answer

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
