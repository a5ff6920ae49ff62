"""The page itself: a template, a style sheet and a script that lie beside this module, and nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from biomedjourney_monai.clinic.web import request as page_request
from biomedjourney_monai.clinic.web import suggestions
from biomedjourney_monai.radiographs import NOT_FOR_DIAGNOSIS

FOLDER = "static"


@dataclass(frozen=True)
class StaticFile:
    """A file of the page."""

    name: str
    media_type: str

    def content(self) -> bytes:
        return _read(self.name)


STATIC_FILES = {
    "page.css": StaticFile("page.css", "text/css"),
    "page.js": StaticFile("page.js", "text/javascript"),
    "icon.svg": StaticFile("icon.svg", "image/svg+xml"),
}


def render_page(facts: Mapping[str, Any]) -> str:
    """Fill the template.

    Args:
        facts: of `Workshop.page_facts`, with the limits of uploads.
    """
    for_script = {
        "defaults": facts["defaults"],
        "suggestions": [asdict(suggestion) for suggestion in suggestions.all_suggestions()],
        "max_bytes": facts["max_bytes"],
    }
    limits = {
        "max_steps": page_request.MAX_STEPS,
        "max_samples": page_request.MAX_SAMPLES,
        "max_description": page_request.MAX_DESCRIPTION,
    }
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            **facts,
            **limits,
            not_for_diagnosis=NOT_FOR_DIAGNOSIS,
            findings=suggestions.FINDINGS,
            changes=suggestions.CHANGES,
            for_script=json.dumps(for_script).replace("<", "\\u003c"),
        )
    )


def render_report(facts: Mapping[str, Any]) -> bytes:
    """The report of one request: a page of its own, pictures included, that loads nothing."""
    return _environment().get_template("report.html.j2").render(**facts, style=_read("report.css").decode()).encode()


@lru_cache(maxsize=1)
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("biomedjourney_monai.clinic.web", FOLDER)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@lru_cache(maxsize=8)
def _read(name: str) -> bytes:
    return resources.files("biomedjourney_monai.clinic.web").joinpath(FOLDER, name).read_bytes()
