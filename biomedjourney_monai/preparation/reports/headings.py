"""The section headings of radiology reports, as MIMIC-CXR and other sites use them."""

from __future__ import annotations

import re
from dataclasses import dataclass

IMPRESSION_HEADINGS = (
    *("impression", "impressions", "final impression", "conclusion", "conclusions", "opinion", "interpretation"),
    *("summary", "findings and impression", "findings & impression", "findings/impression", "findings and conclusion"),
    *("findings/conclusion", "impression and findings", "impression/findings", "impression and recommendation"),
    *("impression and recommendations", "impression/recommendation", "impression/recommendations"),
)
FINDINGS_HEADINGS = ("finding", "findings", "chest findings", "report", "description")
COMPARISON_HEADINGS = ("comparison", "comparisons", "comparison study", "comparison studies", "comparison films")
OTHER_HEADINGS = (
    *("addendum", "clinical history", "clinical indication", "clinical information", "exam", "examination"),
    *("final report", "history", "indication", "indications", "notification", "procedure", "reason for exam"),
    *("reason for examination", "recommendation", "recommendation(s)", "recommendations", "technique", "wet read"),
)

_PART = (
    r"(?:LUNGS?|PLEURAL?|HEART|CARDIAC|CARDIOVASCULAR|MEDIASTIN\w+|CARDIOMEDIASTIN\w+|HIL(?:A|AR|UM)|BON(?:ES|Y)|OSSEOUS"
    r"|SKELET\w+|AIRWAYS?|VESSELS|VASCULA\w+|PULMONARY|DIAPHRAGM|TISSUES?|SOFT|ABDOMEN|UPPER|SUPPORT|DEVICES?|LINES|TUBES"
    r"|SPACES?|SILHOUETTE|STRUCTURES?|CONTOURS?|PARENCHYMA|WALL|OTHER|AND|SIZE)"
)
_SUB_HEADING = re.compile(rf"{_PART}(?:[ /,&]+{_PART})*", re.IGNORECASE)
"""A part of the chest: such a heading belongs to the section that it stands in."""


@dataclass(frozen=True)
class Heading:
    """A heading: its name in lower case, and its start and end in the text."""

    name: str
    start: int
    end: int


def _either(names: tuple[str, ...]) -> str:
    ordered = sorted(names, key=len, reverse=True)  # the longest first: "findings and impression" before "findings"
    return "|".join(re.escape(name).replace("/", r"\s*/\s*").replace(r"\ ", r"[ \t]+") for name in ordered)


def _capitals(*names: str) -> str:
    return _either(tuple(name.upper() for name in names))


_KNOWN = _either((*IMPRESSION_HEADINGS, *FINDINGS_HEADINGS, *COMPARISON_HEADINGS, *OTHER_HEADINGS))
_CAPITALS = _capitals(*IMPRESSION_HEADINGS, *FINDINGS_HEADINGS, *COMPARISON_HEADINGS, *OTHER_HEADINGS)

_HEADING = re.compile(
    rf"^[ \t]*(?:\*\*)?(?P<known>(?i:{_KNOWN}))(?:\*\*)?[ \t]*:(?:\*\*)?"  # a known one, upper or lower case
    rf"|(?:\A|^[ \t]*\n)[ \t]*(?P<alone>(?i:{_KNOWN}))[ \t]*$"  # … without a colon on a line of its own
    rf"|^[ \t]*(?P<dash>{_capitals('impression', 'conclusion')})[ \t]+[-–—](?=\s)"
    r"|^[ \t]*(?P<amended>ADDENDUM)\b"
    r"|^[ \t]*(?P<other>[A-Z][A-Z ()/,-]*[A-Z]):(?=\s|$)"  # any other in capitals
    rf"|(?<=[.?!_)][ \t])[ \t]*(?P<inline>{_CAPITALS})[ \t]*:",  # within a line, after a sentence
    re.MULTILINE,
)


def find_headings(text: str) -> list[Heading]:
    """Find the headings of a report, in order.

    Example:
        >>> [heading.name for heading in find_headings("Findings : Clear.\\nIMPRESSION\\nNo change.")]
        ['findings', 'impression']
    """
    headings = []
    for match in _HEADING.finditer(text):
        if _SUB_HEADING.fullmatch(match[str(match.lastgroup)].strip()):
            continue
        name = re.sub(r"\s*/\s*", "/", " ".join(match[str(match.lastgroup)].lower().split()))
        headings.append(Heading("addendum" if match.lastgroup == "amended" else name, match.start(), match.end()))
    return headings
