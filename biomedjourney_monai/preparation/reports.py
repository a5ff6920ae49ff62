"""Sections of a radiology report, by MIMIC-CXR's rules and a few common variants."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

IMPRESSION_HEADINGS = (
    "impression",
    "impressions",
    "conclusion",
    "conclusions",
    "findings and impression",
    "findings/impression",
    "impression and findings",
    "impression/findings",
)
FINDINGS_HEADINGS = ("finding", "findings", "chest findings")
COMPARISON_HEADINGS = ("comparison", "comparisons", "comparison study", "comparison studies")
_OTHER_HEADINGS = (
    "addendum",
    "clinical history",
    "clinical information",
    "exam",
    "examination",
    "final report",
    "history",
    "indication",
    "notification",
    "procedure",
    "reason for exam",
    "reason for examination",
    "recommendation",
    "recommendation(s)",
    "recommendations",
    "technique",
    "wet read",
)

_KNOWN = "|".join(
    re.escape(name).replace("/", r"\s*/\s*").replace(r"\ ", r"\s+")
    for name in sorted(
        (*IMPRESSION_HEADINGS, *FINDINGS_HEADINGS, *COMPARISON_HEADINGS, *_OTHER_HEADINGS), key=len, reverse=True
    )
)
_HEADING = re.compile(
    rf"^[ \t]*(?:(?P<known>(?i:{_KNOWN}))[ \t]*:|(?P<other>[A-Z][A-Z ()/,-]*[A-Z)]):(?=\s|$))", re.MULTILINE
)
"""A heading stands at the start of a line and ends in a colon: a known one in any case, others in capitals."""


@dataclass(frozen=True)
class Sections:
    """The parts of a report that matter here, as clean single-line text; "" where absent.

    Args:
        impression: of `IMPRESSION`, `CONCLUSION` or a section that is both findings and impression.
        findings_section: of `FINDINGS`.
        last_paragraph: of a report with neither, the last paragraph of its last section.
        comparison: of `COMPARISON`.
    """

    impression: str = ""
    findings_section: str = ""
    last_paragraph: str = ""
    comparison: str = ""

    @property
    def summary(self) -> str:
        """The text that stands for the study: impression, or else findings, or else the last paragraph."""
        return self.impression or self.findings_section or self.last_paragraph


def parse_report(text: str) -> Sections:
    """Split a report into sections. Of several with one heading the last that is not empty counts.

    Example:
        >>> parse_report(" FINDINGS: Clear.\\n IMPRESSION:  No acute process since ___.").impression
        'No acute process since.'
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    headings = list(_HEADING.finditer(text))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    bodies: dict[str, str] = {}
    for heading, end in zip(headings, ends):
        body = text[heading.end() : end]
        name = " ".join((heading["known"] or heading["other"]).lower().replace("/", " / ").split()).replace(" / ", "/")
        if clean(body):
            bodies[name] = body
    impression = _last(bodies, IMPRESSION_HEADINGS)
    findings_section = _last(bodies, FINDINGS_HEADINGS)
    last_paragraph = "" if impression or findings_section else _last_paragraph(text, headings)
    comparison = _last(bodies, COMPARISON_HEADINGS)
    return Sections(*(clean(part) for part in (impression, findings_section, last_paragraph, comparison)))


def read_report(path: str | Path) -> Sections:
    """Read and split a report; no section where the path is "" or the file cannot be read. Bytes that are not UTF-8
    are taken as Latin-1."""
    if not str(path):
        return Sections()
    try:
        data = Path(path).read_bytes()
    except OSError:
        return Sections()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return parse_report(text.replace("\0", " "))


def clean(text: str) -> str:
    """One line of text, without de-identification marks, list numbers and rules.

    The marks are what models memorise best; what they leave behind, such as a space before a comma, is tidied.
    """
    text = re.sub(r"^[ \t]*\(?\d{1,2}[.)](?=\s)", " ", text, flags=re.MULTILINE)  # list numbers
    text = re.sub(r"(?<=[.;:])\s+\d{1,2}[.)](?=\s+[A-Z])", " ", text)  # … run on in one line
    text = re.sub(r"\[?_{2,}\]?", " ", text)
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"\(\s*\)", "", text)
    text = re.sub(r"\s+([,.;:)])", r"\1", text)
    text = re.sub(r"([,;:])(?:\s*[,;:])+", r"\1", text)
    text = re.sub(r"[,;:]\s*\.", ".", text)
    text = re.sub(r"\.(?:\s*\.)+", ".", text)
    return text.strip(" ,;:-")


def _last(bodies: dict[str, str], names: tuple[str, ...]) -> str:
    found = [body for name, body in bodies.items() if name in names]
    return found[-1] if found else ""


def _last_paragraph(text: str, headings: list[re.Match[str]]) -> str:
    body = text[headings[-1].end() :] if headings else text
    paragraphs = [paragraph for paragraph in re.split(r"\n[ \t]*\n", body) if clean(paragraph)]
    return paragraphs[-1] if paragraphs else ""
