"""Describe what changed between the two reports of each pair. The default works by rules, on this machine: no text
leaves it. The labels say what is there, the reports on which side and how much; where a report is missing, the labels
alone must do, and the other way round.

With --writer language-model an OpenAI-compatible service writes instead (vLLM, Ollama, Azure …), on this machine
unless you attest to zero retention. Every description is checked against both studies; what fails is written once
more and then by rules. Answers are cached, so that a rerun asks nothing twice and a killed run goes on.

With --prior-report and --new-report, two text files of your own, the description is printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from biomedjourney_monai.preparation.descriptions.endpoint import Endpoint
    from biomedjourney_monai.preparation.descriptions.language_model import LanguageModel
    from biomedjourney_monai.preparation.descriptions.rows import Triples

CACHE_FILE = "descriptions.sqlite"

EXAMPLE = "biomedjourney describe --work work --seed 0"


def configure(parser: argparse.ArgumentParser) -> None:
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
        help="share of the descriptions, by rules, that leave out what is unchanged: a model that has learned from "
        "some of them leaves alone what a description does not name (default: 0)",
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
        "nothing to people, and the record says so",
    )
    group.add_argument("--concurrency", type=int, default=4, help="requests at once (default: 4)")
    group.add_argument("--retries", type=int, default=5, help="after 429, 5xx and time-outs (default: 5)")
    group.add_argument("--timeout", type=float, default=60, metavar="SECONDS", help="of one request (default: 60)")
    group.add_argument("--cache", metavar="FILE", help=f"of answers (default: {CACHE_FILE} in the working folder)")
    group.add_argument("--dry-run", action="store_true", help="estimate requests, tokens and cost; ask nothing")
    group.add_argument("--input-price", type=float, default=0, metavar="PRICE", help="per million tokens read")
    group.add_argument("--output-price", type=float, default=0, metavar="PRICE", help="per million tokens written")


def run(args: argparse.Namespace) -> None:
    from biomedjourney_monai.errors import ConfigError

    if args.seed < 0:
        raise ConfigError("--seed must be >= 0", found=str(args.seed))
    if (args.prior_report is None) != (args.new_report is None):
        raise ConfigError("--prior-report and --new-report go together", found="one of them")
    if not 0 <= args.only_changes <= 1:
        raise ConfigError("--only-changes must be in [0, 1]", found=str(args.only_changes))
    if args.only_changes and (args.writer != "rules" or args.text != "progression"):
        raise ConfigError(
            "--only-changes goes with --writer rules and --text progression",
            found=f"--writer {args.writer} --text {args.text}",
        )
    if args.dry_run and args.writer == "rules":
        raise ConfigError("--dry-run goes with --writer language-model", found="--writer rules, which costs nothing")
    if args.concurrency < 1 or args.retries < 0 or not args.timeout > 0:
        raise ConfigError("--concurrency must be >= 1, --retries >= 0 and --timeout > 0")
    endpoint = _check_model(args) if args.writer == "language-model" else None
    if args.prior_report is not None:
        _describe_two_reports(args, endpoint)
    else:
        _describe_pairs(args, endpoint)


def _check_model(args: argparse.Namespace) -> Endpoint:
    import os

    from biomedjourney_monai.errors import ConfigError
    from biomedjourney_monai.preparation.descriptions.endpoint import open_endpoint

    if not args.model:
        raise ConfigError("--writer language-model needs --model", action="Name a model that the service has")
    endpoint = open_endpoint(args.base_url, attested=args.attest_zero_retention)
    if not endpoint.is_loopback and not os.environ.get(args.key_variable) and not args.dry_run:
        raise ConfigError("a remote service needs a key", found="none", action=f"Set {args.key_variable}")
    return endpoint


def _open_model(args: argparse.Namespace, endpoint: Endpoint | None) -> LanguageModel | None:
    import os

    from biomedjourney_monai.preparation.descriptions.answer_cache import AnswerCache
    from biomedjourney_monai.preparation.descriptions.language_model import LanguageModel
    from biomedjourney_monai.preparation.descriptions.prompt import load_prompt

    if endpoint is None:
        return None
    path = args.cache or (":memory:" if args.prior_report is not None else str(Path(args.work) / CACHE_FILE))
    if args.dry_run and not Path(path).exists():
        path = ":memory:"  # leave no file behind
    return LanguageModel(
        endpoint,
        model=args.model,
        prompt=load_prompt(),
        cache=AnswerCache(path),
        api_key=os.environ.get(args.key_variable, ""),
        retries=args.retries,
        timeout_s=args.timeout,
    )


def _describe_two_reports(args: argparse.Namespace, endpoint: Endpoint | None) -> None:
    import sys

    from biomedjourney_monai.errors import TableError
    from biomedjourney_monai.preparation.descriptions.rows import compare_reports
    from biomedjourney_monai.preparation.descriptions.writers import write_by_rules, write_with_model
    from biomedjourney_monai.preparation.reports.sections import read_report

    reports = [read_report(path) for path in (args.prior_report, args.new_report)]
    for option, report in zip(("--prior-report", "--new-report"), reports):
        if not report.summary:
            raise TableError(f"{option} must name a readable text file with a report in it", found="no text")
    case = compare_reports(*reports, seed=args.seed)
    model = _open_model(args, endpoint)
    if args.dry_run:
        _print_estimate([case], args, model)
        return
    if args.text == "impression":
        print(case.new_impression)
        return
    written = write_with_model(case, model) if model else write_by_rules(case, only_changes=args.only_changes)
    if written.rejections:
        print(f"rejected: {'; '.join(written.rejections)}", file=sys.stderr)
    if not written.text:
        raise TableError("a description must be borne out by both reports", found="none that is, after two attempts")
    print(written.text)


def _describe_pairs(args: argparse.Namespace, endpoint: Endpoint | None) -> None:
    from functools import partial

    from biomedjourney_monai.files import read_table
    from biomedjourney_monai.preparation.descriptions.rows import build_triples, read_cases
    from biomedjourney_monai.preparation.descriptions.writers import write_by_rules, write_with_model
    from biomedjourney_monai.schema import PAIR_COLUMNS, PAIRS_FILE, STUDIES_FILE, STUDY_COLUMNS

    work = Path(args.work)
    studies = read_table(work / STUDIES_FILE, columns=STUDY_COLUMNS, made_by="cohort")
    pairs = read_table(work / PAIRS_FILE, columns=PAIR_COLUMNS, made_by="register")
    model = _open_model(args, endpoint)
    if args.dry_run:
        _print_estimate(read_cases(pairs, seed=args.seed)[1], args, model)
        return
    by_rules = partial(write_by_rules, only_changes=args.only_changes)
    write = partial(write_with_model, model=model) if model else by_rules
    concurrency = args.concurrency if model else 1
    triples = build_triples(pairs, text=args.text, seed=args.seed, write=write, concurrency=concurrency)
    _write_files(args, work, studies, triples, model)


def _write_files(
    args: argparse.Namespace, work: Path, studies: pd.DataFrame, triples: Triples, model: LanguageModel | None
) -> None:
    from collections import Counter

    from biomedjourney_monai.errors import TableError
    from biomedjourney_monai.files import write_json, write_json_lines
    from biomedjourney_monai.preparation.descriptions.rows import build_singles
    from biomedjourney_monai.schema import SINGLES_FILE, TRIPLES_FILE

    singles, single_drops = build_singles(studies, work, seed=args.seed)
    rows = triples.rows
    if not rows:
        raise TableError("some pairs must be described", found=f"dropped: {triples.drops}", action="Run register again")
    write_json_lines(work / TRIPLES_FILE, rows)
    write_json_lines(work / SINGLES_FILE, singles)
    from_labels = sum(row["source"] == "labels" for row in rows)
    counts = {
        "triples": len(rows),
        "triples_from_labels": from_labels,
        "triples_dropped": triples.drops,
        "triples_written_by": Counter(row["written_by"] for row in rows),
        "attempts_rejected": triples.rejections,
        "fell_back_on_rules": triples.fell_back,
        "singles": len(singles),
        "singles_from_labels": sum(single["source"] == "labels" for single in singles),
        "singles_dropped": single_drops,
        "mean_characters": sum(len(row["progression_description"]) for row in rows) / len(rows),
    }
    write_json(work / "describe_drops.json", counts)
    write_json(work / "describe_provenance.json", _provenance(args, model))
    print(
        f"{len(rows):,} triples ({from_labels:,} with labels in place of a report), mean length "
        f"{counts['mean_characters']:.0f} characters -> {work / TRIPLES_FILE}; {len(singles):,} single images -> "
        f"{work / SINGLES_FILE}"
    )
    print(f"dropped pairs: {_listed(triples.drops)}; dropped studies: {_listed(single_drops)}")
    if model or triples.rejections:
        print(f"rejected attempts: {_listed(triples.rejections)}; fell back on rules: {_listed(triples.fell_back)}")


def _provenance(args: argparse.Namespace, model: LanguageModel | None) -> dict:
    """What decided the descriptions; an attestation is kept here."""
    from dataclasses import asdict

    from biomedjourney_monai import __version__

    record = {"writer": args.writer, "text": args.text, "seed": args.seed, "version": __version__}
    if args.only_changes:
        record["only_changes"] = args.only_changes
    if model:
        record |= {"model": model.model, "usage": asdict(model.usage), "endpoint": model.endpoint.provenance()}
        record |= {"prompt_version": model.prompt.version, "prompt_digest": model.prompt.digest}
    return record


def _print_estimate(cases: list, args: argparse.Namespace, model: LanguageModel) -> None:
    from biomedjourney_monai.preparation.descriptions.writers import estimate

    guess = estimate(cases, model, input_price=args.input_price, output_price=args.output_price)
    print(
        f"{guess.requests:,} requests ({guess.answered:,} more are answered in the cache), about "
        f"{guess.input_tokens:,} tokens to read and {guess.output_tokens:,} to write, cost {guess.cost:.2f}; each "
        "rejected answer takes one request more. Nothing was asked."
    )


def _listed(drops: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in drops.items()) or "none"
