"""The page: a template, a style sheet and a script from this package; it loads nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.clinic.web import request as page_request
from biomedjourney_monai.clinic.web import suggestions
from biomedjourney_monai.radiographs import NOT_FOR_DIAGNOSIS

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
        "suggestions": [asdict(suggestion) for suggestion in suggestions.all_suggestions()],
        "max_bytes": facts["max_bytes"],
    }
    limits = {
        "max_steps": page_request.MAX_STEPS,
        "max_samples": page_request.MAX_SAMPLES,
        "max_description": page_request.MAX_DESCRIPTION,
    }
    choices = {"findings": suggestions.FINDINGS, "changes": suggestions.CHANGES}
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
