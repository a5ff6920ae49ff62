"""Split a radiology report into sections, by MIMIC-CXR's rules and a few common variants."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from biomedjourney_monai.preparation.reports.headings import (
    COMPARISON_HEADINGS,
    FINDINGS_HEADINGS,
    IMPRESSION_HEADINGS,
    Heading,
    find_headings,
)
from biomedjourney_monai.preparation.reports.identifiers import strip_identifiers

_REFERS = re.compile(
    r"(?:please )?(?:as|see|per|refer to)(?: the)? (?:above|below|findings?|body|report)\W*", re.IGNORECASE
)
"""An impression that only refers to the findings."""

_GAP = re.compile(r"\( ?\)| [,.;:)]|[,;:] ?[,;:.]|\. ?\.")
"""What removed identifiers leave."""

_LIST_NUMBER = re.compile(r"(?:^[ \t]*|(?<=[.;:?])\s+)\(?(\d{1,2})[.)](?=\s)", re.MULTILINE)


@dataclass(frozen=True)
class Sections:
    """The sections of a report that are used, as clean single-line text; "" if absent.

    Args:
        impression: of `IMPRESSION`, `CONCLUSION` or a section that is both findings and impression.
        findings_section: of `FINDINGS`.
        last_paragraph: the last paragraph of the last section, if the report has neither of these.
        comparison: of `COMPARISON`.
        addendum: of `ADDENDUM`.
    """

    impression: str = ""
    findings_section: str = ""
    last_paragraph: str = ""
    comparison: str = ""
    addendum: str = ""

    @property
    def summary(self) -> str:
        """The text that represents the study: impression, or else findings, or else the last paragraph."""
        return self.impression or self.findings_section or self.last_paragraph

    @property
    def text(self) -> str:
        """Everything that the report says about the study."""
        details = self.findings_section if self.impression else ""
        return "\n".join(part for part in (self.summary, details, self.addendum) if part)


@lru_cache(maxsize=32768)  # a study's report is read as the new one, as the prior and as a single one
def parse_report(text: str) -> Sections:
    """Split a report into sections. Of several with one heading, the last one that is not empty counts.

    Example:
        >>> parse_report(" FINDINGS: Clear.\\n IMPRESSION:  No acute process since ___.").impression
        'No acute process since.'
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    headings = find_headings(text)
    ends = [heading.start for heading in headings[1:]] + [len(text)]
    bodies = [(heading.name, text[heading.end : end]) for heading, end in zip(headings, ends)]
    impression = _last(bodies, IMPRESSION_HEADINGS)
    findings_section = _last(bodies, FINDINGS_HEADINGS)
    if findings_section and _REFERS.fullmatch(clean(impression)):
        impression = ""
    comparison = _last(bodies, COMPARISON_HEADINGS)
    last_paragraph = ""
    if not impression and not findings_section:
        last_paragraph = _last_paragraph(text, headings)
        comparison = comparison and _paragraphs(comparison)[0]  # what follows it has no heading of its own
    return Sections(
        *map(clean, (impression, findings_section, last_paragraph, comparison, _last(bodies, ("addendum",))))
    )


def read_report(path: str | Path) -> Sections:
    """Read and split a report; no sections if the path is "" or the file cannot be read.

    Bytes that are not UTF-8 are read as Latin-1.
    """
    if not str(path):
        return Sections()
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 - a Path takes as long as the reading
            data = stream.read()
    except OSError:
        return Sections()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return parse_report(text.replace("\0", " "))


@lru_cache(maxsize=512)
def clean(text: str) -> str:
    """Write text on one line without identifiers, de-identification marks, list numbers, and the gaps they leave."""
    text = " ".join(strip_identifiers(_strip_list_numbers(text)).split())
    if _GAP.search(text):
        text = re.sub(r" +([,.;:)])", r"\1", re.sub(r"\( ?\)", "", text))
        text = re.sub(r"[,;:] *\.", ".", re.sub(r"([,;:])(?: *[,;:])+", r"\1", text))
        text = re.sub(r"\.(?: *\.)+", ".", text)
    return text.strip(" ,;:-")


def _strip_list_numbers(text: str) -> str:
    """Remove "1.", "2.", … in order, at starts of lines or after sentences; "T12." stays, since 12 is out of order."""
    expected, parts, start = 1, [], 0
    for match in _LIST_NUMBER.finditer(text) if "1." in text or "1)" in text else ():
        if int(match[1]) in (1, expected):
            parts += [text[start : match.start()], "\n"]
            start, expected = match.end(), int(match[1]) + 1
    return "".join([*parts, text[start:]])


def _last(bodies: list[tuple[str, str]], names: tuple[str, ...]) -> str:
    found = [body for name, body in bodies if name in names and clean(body)]
    return found[-1] if found else ""


def _last_paragraph(text: str, headings: list[Heading]) -> str:
    paragraphs = _paragraphs(text[headings[-1].end :] if headings else text)
    return paragraphs[-1] if paragraphs else ""


def _paragraphs(text: str) -> list[str]:
    return [paragraph for paragraph in re.split(r"\n[ \t]*\n", text) if clean(paragraph)]
