"""The page: a template, a style sheet and a script from this package; it loads nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.clinic.web import request as page_request
from biomedjourney_monai.preparation.descriptions.progression import NOUNS, write_change
from biomedjourney_monai.preparation.reports.states import Change
from biomedjourney_monai.preparation.reports.vocabulary import UNSIDED
from biomedjourney_monai.radiographs import NOT_FOR_DIAGNOSIS
from biomedjourney_monai.schema import FINDINGS as LABELS

if TYPE_CHECKING:
    from jinja2 import Environment


FOLDER = "static"
MEDIA_TYPES = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "viewer.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""The files that the server sends next to the page."""


def render_page(facts: Mapping[str, Any]) -> str:
    """Fill the template with `PageService.page_facts` and the limits of uploads."""
    for_script = {
        "defaults": facts["defaults"],
        "suggestions": [asdict(suggestion) for suggestion in all_suggestions()],
        "max_bytes": facts["max_bytes"],
    }
    limits = {
        "max_steps": page_request.MAX_STEPS,
        "max_samples": page_request.MAX_SAMPLES,
        "max_description": page_request.MAX_DESCRIPTION,
    }
    choices = {"findings": FINDINGS, "changes": CHANGES}
    script = json.dumps(for_script).replace("<", "\\u003c")
    template = _environment().get_template("page.html.j2")
    return template.render(**facts, **limits, **choices, not_for_diagnosis=NOT_FOR_DIAGNOSIS, for_script=script)


def render_report(facts: Mapping[str, Any]) -> bytes:
    """The report of one request: an HTML page with its pictures that loads nothing."""
    style = read_static("report.css").decode()
    return _environment().get_template("report.html.j2").render(**facts, style=style).encode()


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("biomedjourney_monai.clinic.web", FOLDER)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@lru_cache(maxsize=8)
def read_static(name: str) -> bytes:
    """A file of the page's folder."""
    return resources.files("biomedjourney_monai.clinic.web").joinpath(FOLDER, name).read_bytes()


SIDES = {"left": ("left",), "right": ("right",), "bilateral": ("left", "right")}
WHOLE = {"": ("",)}
"""The side of findings without sides."""

CHANGES = {"new": "new", "worse": "worse", "better": "better", "unchanged": "same", "resolved": "resolved"}
"""Changes of a finding, in the order of the page, and their kind."""


@dataclass(frozen=True)
class Finding:
    """The words for a finding.

    Attributes:
        label: one of `schema.FINDINGS`.
        words: its name in a sentence, singular.
        sided: whether it has a side.
        severities: words for its severity, rising.
    """

    label: str
    words: str
    sided: bool
    severities: tuple[str, ...]


FINDINGS = tuple(Finding(label, NOUNS[label][0], label not in UNSIDED, NOUNS[label][2][1:]) for label in LABELS)


@dataclass(frozen=True)
class Suggestion:
    """A sentence and the choices that it was written from."""

    finding: str
    side: str
    severity: str
    change: str
    sentence: str


def suggest(label: str, *, side: str = "", severity: str = "", change: str = "new") -> str:
    """Write one sentence.

    Args:
        label: of a finding in `FINDINGS`.
        side: "left", "right" or "bilateral" of the patient; "" for a finding without sides.
        severity: the new severity, one of the finding's words; "" for "resolved".
        change: one of `CHANGES`.

    Example:
        >>> suggest("Pleural Effusion", side="left", severity="large")
        'New large left pleural effusion.'

    Raises:
        ValueError: if a choice is not one of these.
    """
    finding = next((finding for finding in FINDINGS if finding.label == label), None)
    if finding is None or change not in CHANGES or side not in (SIDES if finding.sided else WHOLE):
        raise ValueError("a suggestion must name a finding, a side it has and a change")
    if change != "resolved" and severity not in finding.severities:
        raise ValueError("a suggestion must name a severity of the finding")
    grade = 0 if change == "resolved" else 1 + finding.severities.index(severity)
    return write_change(Change(label, CHANGES[change], dict.fromkeys((SIDES | WHOLE)[side], grade)))


def all_suggestions() -> list[Suggestion]:
    """Every sentence that the page can write."""
    choices = [
        (finding.label, side, severity, change)
        for finding in FINDINGS
        for side in (SIDES if finding.sided else WHOLE)
        for change in CHANGES
        for severity in (("",) if change == "resolved" else finding.severities)
    ]
    return [
        Suggestion(label, side, severity, change, suggest(label, side=side, severity=severity, change=change))
        for label, side, severity, change in choices
    ]
