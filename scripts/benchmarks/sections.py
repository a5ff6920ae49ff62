"""Measure whether the parser finds the sections of real reports (about a minute).

    python scripts/benchmarks/sections.py

The 3,955 reports of Indiana University's collection, which torchxrayvision's package carries as XML with labelled
sections, are written as plain text in the layouts that sites use, and parsed. A report matches if impression, findings
and comparison (in a layout without headings, the last paragraph) come back word for word.
The last line is JSON: {"figures": {...}, "bars": {...}}.
"""

from __future__ import annotations

import importlib.util
import json
import random
import re
import tarfile
import textwrap
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from biomedjourney_monai.preparation.reports.sections import Sections, clean, parse_report

BAR_PERCENT = 99.0
RULE = " " + "_" * 78
HEADER = " " * 33 + "FINAL REPORT"


def read_indiana() -> Iterator[tuple[str, dict[str, str]]]:
    """Read each report: its uid, and label in capitals → text, where XXXX marks what was taken out."""
    package = importlib.util.find_spec("torchxrayvision").origin  # found, not imported: that would take seconds
    with tarfile.open(Path(package).parent / "data" / "NLMCXR_reports.tgz") as archive:
        for member in archive:
            if member.name.endswith(".xml"):
                root = ElementTree.fromstring(archive.extractfile(member).read())
                parts = {part.get("Label"): (part.text or "").strip() for part in root.iter("AbstractText")}
                yield root.find("uId").get("id"), {name: text for name, text in parts.items() if text}


def wrap(text: str, *, width: int = 78) -> str:
    """Set as lines of at most `width` characters behind one space, as MIMIC-CXR's files are."""
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f" {line}" for line in lines)


def set_mimic(sections: dict[str, str]) -> str:
    """MIMIC-CXR's layout: capitals and a colon, the text on the same line, ___ for what was taken out."""
    body = "\n \n".join(wrap(f"{name}:  {text}") for name, text in sections.items())
    return f"{HEADER}\n{body}\n".replace("XXXX", "___")


def set_heading_apart(sections: dict[str, str]) -> str:
    """MIMIC-CXR's other layout: the heading on its own line, then an empty one."""
    body = "\n \n".join(f" {name}: \n \n{wrap(text)}" for name, text in sections.items())
    return f"{HEADER}\n{body}\n".replace("XXXX", "___")


def set_no_colon(sections: dict[str, str]) -> str:
    return "\n\n".join(f"{name}\n{wrap(text)}" for name, text in sections.items())


def set_lower_case(sections: dict[str, str]) -> str:
    return "\n".join(f"{name.lower()}: {text}" for name, text in sections.items())


def set_windows(sections: dict[str, str]) -> str:
    """Title case, windows line ends, a blank before the colon."""
    return "\n\n".join(f"{name.title()} :\n{wrap(text)}" for name, text in sections.items()).replace("\n", "\r\n")


def set_one_line(sections: dict[str, str]) -> str:
    """All in one line, as exports of databases have it; a section without a full stop gets one."""
    return " ".join(f"{name}: {text.rstrip('. ')}." for name, text in sections.items())


def set_conclusion(sections: dict[str, str]) -> str:
    return set_mimic({name.replace("IMPRESSION", "CONCLUSION"): text for name, text in sections.items()})


def set_numbered(sections: dict[str, str]) -> str:
    """MIMIC-CXR's layout with the impression's sentences as a numbered list."""
    sections = {name: text for name, text in sections.items() if name != "IMPRESSION"} | {
        "IMPRESSION": "\n" + "\n".join(f" {place}. {item}" for place, item in enumerate(_items(sections), 1))
    }
    return "\n \n".join(
        f" {name}: {text}" if name == "IMPRESSION" else wrap(f"{name}: {text}") for name, text in sections.items()
    )


def set_addendum_first(sections: dict[str, str]) -> str:
    """An addendum above the report it amends, as in MIMIC-CXR."""
    note = " ADDENDUM\n After a second look the wording below stands; the ordering team was told."
    return f"{HEADER}\n{note}\n{RULE}\n{set_mimic(sections)}"


def set_addendum_last(sections: dict[str, str]) -> str:
    return f"{set_mimic(sections)} \n ADDENDUM:  After a second look the wording stands.\n"


def set_wet_read(sections: dict[str, str]) -> str:
    """A preliminary reading above the final one."""
    return f" WET READ: ___ ___ ___ 9:12 PM\n  Line in place. IMPRESSION:  Preliminary.\n{RULE}\n{set_mimic(sections)}"


def set_both_in_one(sections: dict[str, str]) -> str:
    """Findings and impression under one heading; the impression must be both."""
    rest = {name: text for name, text in sections.items() if name not in ("FINDINGS", "IMPRESSION")}
    return set_mimic({**rest, "FINDINGS AND IMPRESSION": _both(sections)})


def set_no_heading(sections: dict[str, str]) -> str:
    """No heading but the examination's: the last paragraph must be the impression."""
    paragraphs = [sections.get(name, "") for name in ("FINDINGS", "IMPRESSION")]
    return f"{HEADER}\n EXAMINATION:  Chest.\n \n" + "\n \n".join(wrap(text) for text in paragraphs if text)


LAYOUTS: dict[str, Callable[[dict[str, str]], str]] = {
    function.__name__.removeprefix("set_"): function
    for function in (
        set_mimic,
        set_heading_apart,
        set_no_colon,
        set_lower_case,
        set_windows,
        set_one_line,
        set_conclusion,
        set_numbered,
        set_addendum_first,
        set_addendum_last,
        set_wet_read,
        set_both_in_one,
        set_no_heading,
    )
}


def expect(layout: str, sections: dict[str, str]) -> Sections:
    """What the parser must return: the labelled text, by `reports.clean` on one line."""
    impression, findings, comparison = (sections.get(name, "") for name in ("IMPRESSION", "FINDINGS", "COMPARISON"))
    if layout == "both_in_one":
        return Sections(impression=clean(_both(sections)), comparison=clean(comparison))
    if layout == "no_heading":
        return Sections(last_paragraph=clean(impression or findings))
    return Sections(clean(impression), clean(findings), comparison=clean(comparison))


def words_of(sections: Sections) -> list[list[str]]:
    """The words of each section: what must match is the text, not a full stop that a layout adds."""
    return [re.findall(r"[\w/.%-]*\w", part) for part in vars(sections).values()]


def _items(sections: dict[str, str]) -> list[str]:
    return re.split(r"(?<=[.?]) +(?=[A-Z])", clean(sections["IMPRESSION"])) if "IMPRESSION" in sections else []


def _both(sections: dict[str, str]) -> str:
    return " ".join(sections[name] for name in ("FINDINGS", "IMPRESSION") if name in sections)


def main() -> None:
    reports = [report for _uid, report in read_indiana() if report.keys() & {"IMPRESSION", "FINDINGS"}]
    random.Random(0).shuffle(reports)
    matches: Counter[str] = Counter()
    for report in tqdm(reports, desc="reports", unit=" reports"):
        for layout, set_layout in LAYOUTS.items():
            parsed = replace(parse_report(set_layout(report)), addendum="")
            matches[layout] += words_of(parsed) == words_of(expect(layout, report))
    figures = {layout: round(100 * matches[layout] / len(reports), 2) for layout in LAYOUTS}
    for layout, percent in figures.items():
        print(f"{layout:16} {matches[layout]:,} of {len(reports):,} reports exact: {percent} %")
    figures["mean"] = round(sum(figures.values()) / len(LAYOUTS), 2)
    print(json.dumps({"figures": figures, "bars": dict.fromkeys(figures, BAR_PERCENT)}))


if __name__ == "__main__":
    main()
