"""Find the headings of a radiology report and split it into sections, by MIMIC-CXR's rules and common variants."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from biomedjourney_monai.preparation.reports.identifiers import strip_identifiers

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
        paragraphs = _paragraphs(text[headings[-1].end :] if headings else text)
        last_paragraph = paragraphs[-1] if paragraphs else ""
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


def _paragraphs(text: str) -> list[str]:
    return [paragraph for paragraph in re.split(r"\n[ \t]*\n", text) if clean(paragraph)]
