"""What each journey's description asks for, read by the preparation's rules and handed to the evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from biomedjourney_monai.evaluation.systems.asked_findings import Request, Requests


def read_requests(work: Path) -> Requests | None:
    """Read the descriptions of a working folder; None where there are none.

    They are those of triples.jsonl, or else those that the samples were made with.

    Raises:
        TableError: if the file cannot be used.
    """
    from biomedjourney_monai.evaluation.systems.sources import SAMPLES_TABLE
    from biomedjourney_monai.files import read_json_lines
    from biomedjourney_monai.schema import SAMPLES_FOLDER, TRIPLES_FILE

    for path, verb in ((work / TRIPLES_FILE, "describe"), (work / SAMPLES_FOLDER / SAMPLES_TABLE, "sample")):
        if path.is_file():
            rows = read_json_lines(path, made_by=verb, keys=("journey_id",))
            texts = {row["journey_id"]: row.get("progression_description") for row in reversed(rows)}
            requests = {journey: read_request(text) for journey, text in texts.items() if text}
            if requests:
                return requests
    return None


def read_request(description: str) -> dict[str, Request]:
    """Read what a description says of each finding.

    Example:
        >>> read_request("New small left pleural effusion.")["Pleural Effusion"].severities
        {'left': 1}
    """
    from biomedjourney_monai.evaluation.systems.asked_findings import Request
    from biomedjourney_monai.preparation.reports.statements import read_statements
    from biomedjourney_monai.schema import FINDINGS

    return {
        finding: Request(
            dict(statement.severities),
            frozenset(statement.denied),
            frozenset(side for side, trend in statement.trends.items() if trend == "same"),
            statement.uncertain,
        )
        for finding, statement in read_statements(description).items()
        if finding in FINDINGS
    }
