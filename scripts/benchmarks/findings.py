"""Measure how well findings are read from text, and compare with libraries for negation (about a minute).

    python scripts/benchmarks/findings.py

The texts are the phantom's reports, whose labels are known (another seed than the shipped cohort's), and 200
impressions of Indiana University's collection, labelled by a reader (tests/preparation/reports/indiana_labels.csv holds
labels and report numbers, torchxrayvision's package the texts). 140 of them were seen while the patterns were written;
60 were labelled afterwards. The last line is JSON: {"figures": {...}, "bars": {...}}.

The libraries are not dependencies. `--dump texts.json` writes texts and term locations; then, in an environment with
the library, `python findings.py --read texts.json --library medspacy` (or negspacy) decides the same terms with the
library's negation and uncertainty. medspaCy 1.3 needs a separate environment with spaCy < 3.8 and numpy < 2.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

FIVE = ("Atelectasis", "Cardiomegaly", "Edema", "Pleural Effusion", "Pneumothorax")
LABELS_FILE = Path(__file__).parents[2] / "tests" / "preparation" / "reports" / "indiana_labels.csv"


def read_examples(patients: int) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield (set, text, label → cell): "1", "0", "-1", "" for unmentioned or "?" where the text does not decide, and
    behind it side=severity for what is there; "*" where these are not to be scored."""
    from sections import read_indiana

    from biomedjourney_monai.preparation.reports.sections import clean, parse_report

    indiana = dict(read_indiana())
    with LABELS_FILE.open(newline="") as stream:
        for row in csv.DictReader(stream):
            uid, part = row.pop("uid"), row.pop("part")
            yield f"indiana, {part}", clean(indiana[uid]["IMPRESSION"]), row
    for _index, report, labels in write_phantom_reports(patients):
        cells = {label: "" if labels[label] is None else str(labels[label]) for label in FIVE}
        yield "phantom", parse_report(report).summary, cells


def write_phantom_reports(patients: int) -> Iterator[tuple[int, str, dict[str, int | None]]]:
    """Write the phantom's reports without its images: (patient's number, report, CheXpert label → 1, 0, -1 or None)."""
    from biomedjourney_monai.phantom.mentions import chexpert_labels
    from biomedjourney_monai.phantom.patients import draw_patient
    from biomedjourney_monai.phantom.reports import write_report
    from biomedjourney_monai.phantom.seeds import derive_rng

    for index in range(patients):
        patient, previous = draw_patient(5, index), None
        for visit in patient.visits:
            rng = derive_rng(5, "report", visit.study_id)
            yield index, write_report(patient, visit, previous, rng), chexpert_labels(visit.mentions, visit.devices)
            previous = visit


def read_with_patterns(text: str, _spans: list) -> dict[str, str]:
    from biomedjourney_monai.preparation.reports.text_labels import read_labels

    return {label: str(int(value)) for label, value in read_labels(text).items() if value == value}


def find_spans(text: str) -> list[tuple[str, int, int, bool]]:
    """Find the terms for the libraries: label, place, and whether the term itself says normal ("heart is normal")."""
    from biomedjourney_monai.preparation.reports import vocabulary as words
    from biomedjourney_monai.preparation.reports.statements import _mentions

    found = _mentions(text.lower(), words.TERMS)
    return [
        (label, *match.span(), label == "Cardiomegaly" and bool(words.NEGATED_WITHIN.search(match.group())))
        for label, match in found
        if label in FIVE
    ]


def build_library_reader(library: str) -> Callable[[str, list], dict[str, str]]:
    """Build a reader that leaves negation and doubt to negspaCy's NegEx or medspaCy's ConText, on blank English."""
    import spacy

    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    if library == "negspacy":
        import negspacy.negation  # noqa: F401, registers the pipe

        decide = nlp.add_pipe("negex")
    else:
        import medspacy  # noqa: F401, registers the pipe

        decide = nlp.add_pipe("medspacy_context")

    def read(text: str, spans: list) -> dict[str, str]:
        doc = nlp.get_pipe("sentencizer")(nlp.make_doc(text))
        given = {start: (label, normal) for label, start, _end, normal in spans}
        terms = [doc.char_span(start, end, label="X", alignment_mode="expand") for _l, start, end, _n in spans]
        doc.ents = spacy.util.filter_spans([term for term in terms if term is not None])
        doc = decide(doc)
        values: dict[str, set[str]] = {}
        for term in doc.ents:
            label, normal = given.get(term.start_char, ("", False))
            negated = term._.negex if library == "negspacy" else term._.is_negated
            doubted = library == "medspacy" and term._.is_uncertain
            values.setdefault(label, set()).add("0" if normal or negated else "-1" if doubted else "1")
        return {label: max(found, key=["0", "-1", "1"].index) for label, found in values.items()}

    return read


def score(examples: list, read: Callable[[str, list], dict[str, str]], labels: tuple[str, ...], name: str) -> dict:
    """Count agreement on present, absent, in doubt and unmentioned; and on those that either side names."""
    counts: Counter[tuple[str, str]] = Counter()
    for part, text, cells, spans in examples:
        found = read(text, spans)
        for label in labels:
            wanted, got = cells.get(label, "").partition(" ")[0], found.get(label, "")
            if wanted != "?" and label in cells:
                for kind in ("all", "named") if wanted or got else ("all",):
                    counts[part, kind] += 1
                    counts[part, f"{kind} right"] += wanted == got
    figures = {}
    for part, kind in sorted(key for key in counts if not key[1].endswith("right")):
        right, total = counts[part, f"{kind} right"], counts[part, kind]
        figures[f"{part}{name}, {kind}"] = round(100 * right / total, 2)
        print(f"{part}{name}, {kind}: {right:,} of {total:,} = {100 * right / total:.2f} %")
    return figures


def score_sides(examples: list) -> dict[str, float]:
    """Of the five findings, where both see one: are its sides right, or at least not wrong, and its severities?"""
    from biomedjourney_monai.preparation.reports.statements import read_statements

    counts: Counter[str] = Counter()
    for part, text, cells, _spans in examples:
        statements = read_statements(text) if part != "phantom" else {}
        for label in FIVE:
            state, _space, places = cells[label].partition(" ")
            if state in ("1", "-1") and places not in ("", "*") and not places.startswith("*"):
                wanted = {place.partition("=")[0]: int(place.partition("=")[2]) for place in places.split()}
                statement = statements.get(label)
                if statement is not None and statement.is_present:
                    counts["total"] += 1
                    counts["sides"] += statement.severities.keys() == wanted.keys()
                    counts["sides without a wrong one"] += statement.severities.keys() <= {"", *wanted}
                    counts["severities"] += statement.severities == wanted
    kinds = ("sides", "sides without a wrong one", "severities")
    for kind in kinds:
        print(f"indiana, {kind}: {counts[kind]} of {counts['total']}")
    return {f"indiana, {kind}": round(100 * counts[kind] / counts["total"], 2) for kind in kinds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=1000, help="phantom patients (default: 1000)")
    parser.add_argument("--dump", type=Path, help="write texts and terms for a library's environment, and stop")
    parser.add_argument("--read", type=Path, help="what --dump wrote")
    parser.add_argument("--library", choices=["negspacy", "medspacy"])
    args = parser.parse_args()
    if args.library:
        print(json.dumps(score(json.loads(args.read.read_text()), build_library_reader(args.library), FIVE, "")))
        return
    examples = [(*example, find_spans(example[1])) for example in read_examples(args.patients)]
    if args.dump:
        args.dump.write_text(json.dumps(examples))
        return
    others = tuple(label for label in examples[0][2] if label not in FIVE)
    figures = score(examples, read_with_patterns, FIVE, "") | score_sides(examples)
    figures |= score(examples, read_with_patterns, others, ", eight other labels")
    print(json.dumps({"figures": figures, "bars": {"phantom, all": 99.0}}))


if __name__ == "__main__":
    main()
