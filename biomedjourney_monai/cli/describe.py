"""Describe what changed between the two reports of each pair, by rules, on this machine: no text leaves it.

The labels say what is there, the reports on which side and how much; where a report is missing, the labels alone
must do. Writes a triple for each kept pair, and an image-text pair for each study that has an image.
"""

from __future__ import annotations

import argparse
from pathlib import Path

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


def run(args: argparse.Namespace) -> None:
    from biomedjourney_monai.errors import ConfigError, TableError
    from biomedjourney_monai.files import read_table, write_json, write_json_lines
    from biomedjourney_monai.preparation.descriptions import build_singles, build_triples
    from biomedjourney_monai.schema import (
        PAIR_COLUMNS,
        PAIRS_FILE,
        SINGLES_FILE,
        STUDIES_FILE,
        STUDY_COLUMNS,
        TRIPLES_FILE,
    )

    if args.seed < 0:
        raise ConfigError("--seed must be >= 0", found=str(args.seed))
    work = Path(args.work)
    studies = read_table(work / STUDIES_FILE, columns=STUDY_COLUMNS, made_by="cohort")
    pairs = read_table(work / PAIRS_FILE, columns=PAIR_COLUMNS, made_by="register")
    triples, triple_drops = build_triples(pairs, text=args.text, seed=args.seed)
    singles, single_drops = build_singles(studies, work, seed=args.seed)
    if not triples:
        raise TableError("some pairs must be described", found=f"dropped: {triple_drops}", action="Run register again")
    write_json_lines(work / TRIPLES_FILE, triples)
    write_json_lines(work / SINGLES_FILE, singles)
    lengths = [len(triple["progression_description"]) for triple in triples]
    from_labels = sum(triple["source"] == "labels" for triple in triples)
    counts = {
        "triples": len(triples),
        "triples_from_labels": from_labels,
        "triples_dropped": triple_drops,
        "singles": len(singles),
        "singles_from_labels": sum(single["source"] == "labels" for single in singles),
        "singles_dropped": single_drops,
        "mean_characters": sum(lengths) / len(lengths),
    }
    write_json(work / "describe_drops.json", counts)
    print(
        f"{len(triples):,} triples ({from_labels:,} with labels in place of a report), mean length "
        f"{counts['mean_characters']:.0f} characters -> {work / TRIPLES_FILE}; {len(singles):,} single images -> "
        f"{work / SINGLES_FILE}"
    )
    print(f"dropped pairs: {_listed(triple_drops)}; dropped studies: {_listed(single_drops)}")


def _listed(drops: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in drops.items()) or "none"
