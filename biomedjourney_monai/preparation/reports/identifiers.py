"""Patterns of identifiers, which are removed from every training text and searched for in every description."""

import re

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec)[a-z]*\.?"

PATTERNS: dict[str, re.Pattern[str]] = {
    "mark": re.compile(r"(?:\b[a-z]-)?\[?_{2,}\]?|\[\*\*[^\]\n]{0,80}\*\*\]|(?:\b[a-z]-)?\bX{4,}\b"),
    "date": re.compile(
        r"\b\d{1,2}/\d{1,2}/\d{2,4}\b|\b(?:19|20|21|22)\d\d[-/]\d{1,2}[-/]\d{1,2}\b|\b\d{1,2}-\d{1,2}-(?:19|20|21|22)\d\d\b"
        rf"|\b(?i:{_MONTH})\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+\d{{4}}\b|\b\d{{1,2}}\s+(?i:{_MONTH})\s+\d{{4}}\b"
    ),
    "time": re.compile(r"\b\d{1,2}:\d{2}(?::\d{2})?(?:\s?[ap]\.?m\b\.?)?|\b\d{1,2}\s?[ap]\.?m\b\.?", re.IGNORECASE),
    "telephone": re.compile(r"(?:\+\d{1,2}[ .-])?(?:\(\d{3}\)\s?|\b\d{3}[.-])\d{3}[.-]\d{4}\b"),
    "mail address": re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+\w"),
    "number of a record": re.compile(
        r"\b(?i:mrn|medical record(?: number)?|accession(?: number)?|patient id|ssn)\b"
        r"\s*(?:#|no\.?|:)*\s*[A-Z0-9-]*\d[A-Z0-9-]*"
        r"|\b\d{3}-\d{2}-\d{4}\b|\b\d{6,}\b"
    ),
    "name": re.compile(
        r"(?<=\bDr\.\s)[A-Z][\w'-]+(?:\s[A-Z][\w'-]+)?|(?<=\b(?:Mr|Ms)\.\s)[A-Z][\w'-]+|(?<=\bMrs\.\s)[A-Z][\w'-]+"
    ),
}
"""Kind → pattern. De-identification marks are included, since models memorise them most easily."""

_NEEDED = re.compile(r"[\d@_[DMXx](?:(?<=[\d@_[])|rs?\.|s\.|XXX|xxx)")
"""What every identifier holds some of; most texts hold none of it. A set of first characters is fast to find."""


def strip_identifiers(text: str) -> str:
    """Replace each identifier by a space.

    Example:
        >>> strip_identifiers("Seen by Dr. Smith on 03/04/2019 at 10:35 am.").split()
        ['Seen', 'by', 'Dr.', 'on', 'at', '.']
    """
    for pattern in PATTERNS.values() if _NEEDED.search(text) else ():
        text = pattern.sub(" ", text)
    return text


def find_identifiers(text: str) -> list[str]:
    """List the kinds of identifiers in a text, never the identifiers themselves.

    Example:
        >>> find_identifiers("Unchanged since 03/04/2019.")
        ['date']
    """
    return [kind for kind, pattern in PATTERNS.items() if pattern.search(text)] if _NEEDED.search(text) else []
