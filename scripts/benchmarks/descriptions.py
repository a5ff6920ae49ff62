"""Check the rule-based descriptions, and whether the checker detects wrong ones (about a minute).

    python scripts/benchmarks/descriptions.py

The rule writer describes pairs of the phantom's studies, with labels, and pairs of Indiana University's reports of two
different patients, without. The checker must pass these texts and reject them with sides swapped, with "no" removed,
or with another severity. With --work, `describe` also runs on a copy of that folder's tables: pairs per second of
processor time, after its start and with it. The last line is JSON: {"figures": {...}, "bars": {...}}.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from math import nan
from pathlib import Path

import pandas as pd
from findings import write_phantom_reports
from sections import read_indiana

from biomedjourney_monai.preparation.descriptions.cases import Case, compare_reports
from biomedjourney_monai.preparation.descriptions.checker import check_description
from biomedjourney_monai.preparation.descriptions.rows import write_by_rules
from biomedjourney_monai.preparation.reports.sections import Sections, clean, parse_report

BARS = {
    "phantom, passed": 99.0,
    "phantom, swapped sides caught": 100.0,
    "indiana, swapped sides caught": 99.0,
    "describe, pairs per second": 800.0,
}
"""Figure → the least that it must be."""

FEW = 64
"""Pairs of the run whose time is taken for the start."""


def pair_phantom(patients: int) -> Iterator[Case]:
    """Pair consecutive studies of one patient."""
    previous = None
    for subject, report, labels in write_phantom_reports(patients):
        study = parse_report(report), {label: nan if value is None else value for label, value in labels.items()}
        if previous is not None and previous[0] == subject:
            (prior, prior_labels), (new, new_labels) = previous[1], study
            yield compare_reports(prior, new, prior_labels, new_labels)
        previous = subject, study


def pair_indiana(pairs: int) -> Iterator[Case]:
    """Pair reports of different patients: each new study differs from its prior in everything that either names."""
    reports = [
        Sections(clean(report["IMPRESSION"]), clean(report.get("FINDINGS", "")))
        for _uid, report in read_indiana()
        if "IMPRESSION" in report
    ]
    rng = random.Random(0)
    for _pair in range(pairs):
        yield compare_reports(*rng.sample(reports, 2))


def swap_sides(text: str) -> str:
    return re.sub(r"\b(left|right)\b", lambda match: "right" if match[0] == "left" else "left", text)


def drop_negation(text: str) -> str:
    """Make one denial a finding."""
    return re.sub(r"\b(?:There is no|No) (?!longer|interval|acute|change)", "There is ", text, count=1)


def change_severity(text: str) -> str:
    other = {"small": "large", "large": "small", "mild": "severe", "severe": "mild"}
    return re.sub(r"\b(small|large|mild|severe)\b", lambda match: other[match[0]], text, count=1)


def score(name: str, cases: Iterator[Case]) -> dict[str, float]:
    counts: Counter[str] = Counter()
    length = 0
    spoilers = {"swapped sides": swap_sides, "dropped negations": drop_negation, "changed severities": change_severity}
    for case in cases:
        written = write_by_rules(case)
        counts["pairs"] += 1
        counts["passed at once"] += bool(written.text) and not written.rejections
        counts["passed"] += bool(written.text)
        length += len(written.text)
        for kind, spoil in spoilers.items():
            spoiled = spoil(written.text)
            if spoiled != written.text:
                counts[f"{kind} made"] += 1
                counts[f"{kind} caught"] += bool(check_description(spoiled, case.prior, case.new))
    figures = {f"{name}, passed": 100 * counts["passed"] / counts["pairs"]}
    figures |= {f"{name}, {kind} caught": 100 * counts[f"{kind} caught"] / counts[f"{kind} made"] for kind in spoilers}
    figures[f"{name}, mean characters"] = length / counts["passed"]
    print(name, dict(counts))
    return {kind: round(value, 2) for kind, value in figures.items()}


def run_describe(work: Path, pairs: int | None = None) -> tuple[int, float]:
    """Run `biomedjourney describe` on a folder's tables, or on its first pairs: pairs and processor seconds."""
    with tempfile.TemporaryDirectory() as folder:
        table = pd.read_parquet(work / "pairs.parquet").head(pairs)
        studies = pd.read_parquet(work / "studies.parquet")
        if pairs:
            studies = studies[studies["study_id"].isin({*table["prior_study_id"], *table["new_study_id"]})]
        table.to_parquet(Path(folder, "pairs.parquet"))
        studies.to_parquet(Path(folder, "studies.parquet"))
        Path(folder, "images").symlink_to((work / "images").resolve())
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "biomedjourney_monai", "describe", "--work", folder]
        subprocess.run(command, check=True, stdout=sys.stderr)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        described = json.loads(Path(folder, "describe_drops.json").read_text())["triples"]
    return described, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def time_describe(work: Path, rounds: int = 3) -> dict[str, float]:
    """Pairs per second of processor time, without and with the start of the process; the best of the rounds."""
    runs = [(*run_describe(work), *run_describe(work, FEW)) for _ in range(rounds)]
    pairs, few = runs[0][0], runs[0][2]
    return {
        "describe, pairs": pairs,
        "describe, pairs per second": round(max((pairs - few) / (all_s - few_s) for _, all_s, _, few_s in runs), 1),
        "describe, pairs per second with its start": round(max(pairs / all_s for _, all_s, _, _ in runs), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=1000, help="phantom patients (default: 1000)")
    parser.add_argument("--pairs", type=int, default=1000, help="pairs of real reports (default: 1000)")
    parser.add_argument("--work", type=Path, help="a folder after `register`, to time `describe` (default: none)")
    args = parser.parse_args()
    figures = score("phantom", pair_phantom(args.patients)) | score("indiana", pair_indiana(args.pairs))
    if args.work:
        figures |= time_describe(args.work)
    bars = {name: figures[name] >= least for name, least in BARS.items() if name in figures}
    print(json.dumps({"figures": figures, "bars": bars}))


if __name__ == "__main__":
    main()
