"""The section headings of radiology reports, as MIMIC-CXR and other sites use them."""

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


_NAMES = (*IMPRESSION_HEADINGS, *FINDINGS_HEADINGS, *COMPARISON_HEADINGS, *OTHER_HEADINGS)
LONGEST_ALONE = 60
_KNOWN = _either(_NAMES)
_CAPITALS = _capitals(*_NAMES)

_LINE = re.compile(
    rf"[ \t]*(?:(?:\*\*)?(?P<known>(?i:{_KNOWN}))(?:\*\*)?[ \t]*:(?:\*\*)?"  # a known one, upper or lower case
    rf"|(?P<dash>{_capitals('impression', 'conclusion')})[ \t]+[-–—](?=\s)"
    r"|(?P<addendum>ADDENDUM)\b"
    r"|(?P<other>[A-Z][A-Z ()/,-]*[A-Z]):(?=\s|$))",  # any other in capitals
    re.MULTILINE,
)
_LIKELY = re.compile("ADDENDUM|IMPRESSION|CONCLUSION")
"""What such a line holds some of, or a colon, since that is fast to see."""
_INLINE = re.compile(rf"[.?!_)][ \t]+(?P<inline>{_CAPITALS})[ \t]*:")
"""A heading within a line, after a sentence."""


def _name(text: str) -> str:
    name = " ".join(text.lower().split())
    return re.sub(r" ?/ ?", "/", name) if "/" in name else name


def find_headings(text: str) -> list[Heading]:
    """Find the headings of a report, in order.

    Example:
        >>> [heading.name for heading in find_headings("Findings : Clear.\\nIMPRESSION\\nNo change.")]
        ['findings', 'impression']
    """
    found = [(match.start("inline"), match.end(), match["inline"]) for match in _INLINE.finditer(text)]
    start, after_blank = 0, True
    for line in text.split("\n"):
        match = _LINE.match(text, start) if ":" in line or _LIKELY.search(line) else None
        if match:
            found.append((start, match.end(), match[str(match.lastgroup)]))
        elif (
            after_blank and len(line) < LONGEST_ALONE and _name(line) in _NAMES
        ):  # without a colon on a line of its own
            found.append((start, start + len(line), line))
        start, after_blank = start + len(line) + 1, not line.strip()
    headings, last = [], 0
    for start, end, text in sorted(found):
        if start >= last:
            last = end
            if not _SUB_HEADING.fullmatch(text.strip()):
                headings.append(Heading(_name(text), start, end))
    return headings
