"""The findings that each journey's description asks for, with side and severity."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from biomedjourney_monai.evaluation.judges.judged import Row, Scorer
from biomedjourney_monai.evaluation.systems.sources import SAMPLES_TABLE
from biomedjourney_monai.files import read_json_lines
from biomedjourney_monai.preparation.reports.statements import read_statements
from biomedjourney_monai.schema import FINDINGS, SAMPLES_FOLDER, TRIPLES_FILE

SIDES = ("left", "right")
SIDED = ("Atelectasis", "Pleural Effusion", "Pneumothorax")
"""The findings that have a side."""

WHOLE = ""
"""In place of a side: none is named."""

NO_DESCRIPTIONS = "no descriptions: run `biomedjourney describe`"
"""Why a measure of asked findings is unknown."""


@dataclass(frozen=True)
class AskedFinding:
    """A description's statement about one finding.

    Attributes:
        severities: side ("left", "right", or WHOLE) -> severity that must be seen there: 0 not said, 1 small or mild,
            2 moderate, 3 large or severe.
        denied: sides that must be free of it; WHOLE for all.
        unchanged: sides that are said to stay as they are.
        uncertain: whether the description is uncertain.
    """

    severities: Mapping[str, int] = field(default_factory=dict)
    denied: frozenset[str] = frozenset()
    unchanged: frozenset[str] = frozenset()
    uncertain: bool = False


Asked = Mapping[str, AskedFinding]
"""Finding -> what one journey's description asks for."""

AskedFindings = Mapping[str, Asked]
"""journey_id -> what its description asks for."""


class AskedScorer(Scorer):
    """A scorer that needs what each journey's description asks for."""

    def __init__(self, asked: AskedFindings) -> None:
        self.asked = asked


def prior_labels_of(row: Row) -> dict[str, float]:
    """The prior study's label of each finding."""
    return {finding: row[f"prior_{finding}"] for finding in FINDINGS}


def read_asked_findings(work: Path) -> AskedFindings | None:
    """Read the descriptions in triples.jsonl of a working folder, or else those of its samples; None without any.

    Raises:
        TableError: if the file cannot be used.
    """
    for path, verb in ((work / TRIPLES_FILE, "describe"), (work / SAMPLES_FOLDER / SAMPLES_TABLE, "sample")):
        if path.is_file():
            rows = read_json_lines(path, made_by=verb, keys=("journey_id",))
            texts = {row["journey_id"]: row.get("progression_description") for row in reversed(rows)}
            asked = {journey: parse_asked_findings(text) for journey, text in texts.items() if text}
            if asked:
                return asked
    return None


def parse_asked_findings(description: str) -> dict[str, AskedFinding]:
    """Parse a description's statement about each finding, by the rules of the preparation.

    Example:
        >>> parse_asked_findings("New small left pleural effusion.")["Pleural Effusion"].severities
        {'left': 1}
    """
    return {
        finding: AskedFinding(
            dict(statement.severities),
            frozenset(statement.denied),
            frozenset(side for side, trend in statement.trends.items() if trend == "same"),
            statement.uncertain,
        )
        for finding, statement in read_statements(description).items()
        if finding in FINDINGS
    }


def asked_severities(asked: Asked) -> np.ndarray:
    """The severity asked for of each finding, the worse side's: shape (5,), 1 to 3, NaN where none is named."""
    grades = np.full(len(FINDINGS), np.nan)
    for place, finding in enumerate(FINDINGS):
        request = asked.get(finding)
        if request is not None and not request.uncertain and max(request.severities.values(), default=0):
            grades[place] = max(request.severities.values())
    return grades


def one_sided_onsets(asked: Asked, *, prior_labels: Mapping[str, float]) -> dict[str, str]:
    """Find the findings that must appear on one side, "left" or "right" of the patient, and that the prior does not
    show.

    A prior label of 0, or NaN for unmentioned, counts as absent.
    """
    onsets = {}
    for finding in SIDED:
        request = asked.get(finding)
        if request is None or request.uncertain or not is_absent(prior_labels.get(finding, np.nan)):
            continue
        sides = set(request.severities)
        if len(sides) == 1 and sides <= set(SIDES) and not sides & request.unchanged:
            onsets[finding] = sides.pop()
    return onsets


def targets_of(asked: Asked, *, prior_labels: Mapping[str, float]) -> list[tuple[str, str]]:
    """Find what must change: (finding, side), side WHOLE for a finding without sides.

    An unchanged finding is not a target, and neither is the absence of a finding that the prior did not have.
    """
    targets = []
    for finding in FINDINGS:
        request = asked.get(finding)
        if request is None:
            continue
        sides = set(request.severities) - request.unchanged
        if not is_absent(prior_labels.get(finding, np.nan)):
            sides |= request.denied
        if finding not in SIDED:
            sides = {WHOLE} if sides else set()
        elif WHOLE in sides:
            sides = set(SIDES)
        targets += [(finding, side) for side in sorted(sides)]
    return targets


def is_absent(label: float) -> bool:
    """Whether a label says that a finding is absent: denied, or not mentioned."""
    return bool(np.isnan(label)) or label == 0
