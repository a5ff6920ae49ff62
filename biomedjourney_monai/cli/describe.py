"""Describe what changed between the two reports of each pair. The default is rule-based and runs locally: no text
leaves this machine. Labels decide which findings are present, reports give side and severity; without a report the
labels alone are used, and without labels the reports alone.

With --writer language-model an OpenAI-compatible service writes instead (vLLM, Ollama, Azure …), on this machine
unless you attest to zero retention. Every description is checked against both studies; a rejected one is requested
once more and then written by rules. Answers are cached, so that nothing is asked twice and a stopped run resumes.

With --prior-report and --new-report, two text files of your own, the description is printed.
"""

from __future__ import annotations

import argparse
import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from biomedjourney_monai.cli.arguments import pick

if TYPE_CHECKING:
    from biomedjourney_monai.preparation.descriptions.run import DescribedPairs, LanguageModelSettings

EXAMPLE = "biomedjourney describe --work work --seed 0"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--work", default="work", help="working folder with pairs.parquet (default: work)")
    parser.add_argument(
        "--text",
        choices=["progression", "impression"],
        default="progression",
        help="describe the change, or take the new study's impression as it is (default: progression)",
    )
    parser.add_argument("--seed", type=int, default=0, help="chooses the wording (default: 0)")
    parser.add_argument(
        "--only-changes",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the descriptions by rules that leave out what is unchanged; a model trained on some of them "
        "leaves unchanged what a description does not mention (default: 0)",
    )
    parser.add_argument("--prior-report", metavar="FILE", help="describe two reports of your own: the earlier one")
    parser.add_argument("--new-report", metavar="FILE", help="… and the later one")
    _configure_model(parser.add_argument_group("language model"))


def _configure_model(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--writer", choices=["rules", "language-model"], default="rules", help="who writes (default: rules)"
    )
    group.add_argument(
        "--base-url",
        default="http://127.0.0.1:8000/v1",
        help="an OpenAI-compatible service (default: http://127.0.0.1:8000/v1)",
    )
    group.add_argument("--model", help="the model's name there")
    group.add_argument(
        "--key-variable",
        default="OPENAI_API_KEY",
        metavar="NAME",
        help="environment variable with the key (default: OPENAI_API_KEY)",
    )
    group.add_argument(
        "--attest-zero-retention",
        action="store_true",
        help="allow a host other than this machine; you attest that it retains nothing, trains on nothing and shows "
        "nothing to people, which is recorded",
    )
    group.add_argument("--concurrency", type=int, default=4, help="requests at once (default: 4)")
    group.add_argument("--retries", type=int, default=5, help="after 429, 5xx and time-outs (default: 5)")
    group.add_argument("--timeout", type=float, default=60, metavar="SECONDS", help="of one request (default: 60)")
    group.add_argument(
        "--cache", metavar="FILE", help="of answers (default: descriptions.sqlite in the working folder)"
    )
    group.add_argument("--dry-run", action="store_true", help="estimate requests, tokens and cost; ask nothing")
    group.add_argument("--input-price", type=float, default=0, metavar="PRICE", help="per million tokens read")
    group.add_argument("--output-price", type=float, default=0, metavar="PRICE", help="per million tokens written")


def run(arguments: argparse.Namespace) -> None:
    """Describe a working folder's pairs or two reports, or estimate what a language model would cost."""
    import sys

    from biomedjourney_monai.errors import ConfigError
    from biomedjourney_monai.preparation.descriptions import run as descriptions

    if (arguments.prior_report is None) != (arguments.new_report is None):
        raise ConfigError("--prior-report and --new-report go together", found="one of them")
    reports = (arguments.prior_report, arguments.new_report) if arguments.prior_report is not None else None
    model = descriptions.LanguageModelSettings(
        arguments.model,
        arguments.base_url,
        arguments.key_variable,
        arguments.attest_zero_retention,
        arguments.concurrency,
        arguments.retries,
        arguments.timeout,
        arguments.cache,
    )
    if arguments.dry_run:
        _estimate(arguments, model, reports)
        return
    settings = pick(arguments, "text seed only_changes")
    settings["model"] = model if arguments.writer == "language-model" else None
    if reports is None:
        with _without_collector():
            described = descriptions.describe_pairs(arguments.work, **settings)
        _print_counts(described, with_attempts=bool(settings["model"]))
        return
    written = descriptions.describe_reports(*reports, **settings)
    if written.rejections:
        print(f"rejected: {'; '.join(written.rejections)}", file=sys.stderr)
    print(written.text)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Texts become many objects without cycles; looking for cycles takes a fifth of the time, at the end too."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        atexit.register(gc.freeze)


def _print_counts(described: DescribedPairs, *, with_attempts: bool) -> None:
    from biomedjourney_monai.preparation.rejections import list_reasons

    counts = described.counts
    print(
        f"{counts['triples']:,} triples ({counts['triples_from_labels']:,} with labels in place of a report), mean "
        f"length {counts['mean_characters']:.0f} characters -> {described.triples}; "
        f"{counts['singles']:,} single images -> {described.singles}"
    )
    dropped = list_reasons(counts["triples_dropped"])
    print(f"dropped pairs: {dropped}; dropped studies: {list_reasons(counts['singles_dropped'])}")
    if with_attempts or counts["attempts_rejected"]:
        print(
            f"rejected attempts: {list_reasons(counts['attempts_rejected'])}; "
            f"fell back on rules: {list_reasons(counts['fell_back_on_rules'])}"
        )


def _estimate(
    arguments: argparse.Namespace, model: LanguageModelSettings, reports: tuple[str | Path, str | Path] | None
) -> None:
    from biomedjourney_monai.errors import ConfigError
    from biomedjourney_monai.preparation.descriptions.run import estimate_requests

    if arguments.writer == "rules":
        raise ConfigError("--dry-run needs --writer language-model", found="--writer rules, which costs nothing")
    prices = {"input_price": arguments.input_price, "output_price": arguments.output_price}
    guess = estimate_requests(model, work=arguments.work, reports=reports, seed=arguments.seed, **prices)
    print(
        f"{guess.requests:,} requests ({guess.answered:,} more are answered in the cache), about "
        f"{guess.input_tokens:,} tokens to read and {guess.output_tokens:,} to write, cost {guess.cost:.2f}; each "
        "rejected answer takes one request more. Nothing was asked."
    )
