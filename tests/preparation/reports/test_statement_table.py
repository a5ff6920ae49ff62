"""The labelled sentences of statements.csv: finding, state, side, severity and change of each."""

import csv
from pathlib import Path

from biomedjourney_monai.preparation.reports.statements import Statement, read_statements, says_something

TABLE = Path(__file__).with_name("statements.csv")
LABELS = ("Pleural Effusion", "Pneumothorax", "Atelectasis", "Cardiomegaly", "Edema", "Consolidation", "Pneumonia")
BAR = 0.97


def read_rows() -> list[dict[str, str]]:
    with TABLE.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def reading(text: str) -> str:
    """What is read from a text, written as in the table."""
    found = read_statements(text)
    parts = [f"{label}: {_written(found[label])}" for label in LABELS if label in found]
    if not parts:
        return "" if found else "clear" if says_something(text) else "unreadable"
    return "; ".join(parts)


def test_labelled_sentences_are_read():
    rows = read_rows()
    wrong = [row["text"] for row in rows if _in_order(row["expected"]) != reading(row["text"])]
    assert len(rows) >= 150
    assert len(wrong) <= (1 - BAR) * len(rows), wrong


def _in_order(expected: str) -> str:
    parts = {part.partition(":")[0]: part for part in expected.split("; ")}
    return "; ".join(parts.pop(label) for label in LABELS if label in parts) or expected


def _written(statement: Statement) -> str:
    changes = {side: change for side, change in statement.changes.items() if change}
    if not statement.is_present:
        return "absent resolved" if "resolved" in changes.values() else "absent"
    severities, changes = statement.severities, {} if statement.uncertain else changes
    shared = {changes.get(side, "") for side in severities}
    if len(shared) > 1:
        words = [f"{side}={severity},{changes[side]}" for side, severity in sorted(severities.items())]
    elif severities.keys() == {"left", "right"} and len({*severities.values()}) == 1:
        words = [f"both={severities['left']}", *shared]
    else:
        words = [*(f"{side}={severity}" for side, severity in sorted(severities.items())), *shared]
    state = "uncertain" if statement.uncertain else "present"
    return " ".join([state, *(word for word in words if word and word != "=0")])
