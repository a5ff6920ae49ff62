"""Radiology reports in MIMIC-CXR's layout, which state exactly what the label tables contain."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from biomedjourney_monai.phantom.mentions import ABSENT, PRESENT, UNCERTAIN, Mentions
from biomedjourney_monai.phantom.patients import Patient, Visit
from biomedjourney_monai.phantom.phrasing import voice as words
from biomedjourney_monai.phantom.phrasing.statements import (
    UNSIDED,
    Severities,
    deny,
    name_finding,
    severities_of,
    state_finding,
)
from biomedjourney_monai.phantom.phrasing.voice import RADIOLOGISTS, Voice, as_sentence
from biomedjourney_monai.schema import FINDINGS

IMPRESSION_SHARE = 0.832
FINDINGS_ONLY_SHARE = 0.122
"""Shares of reports with an impression (or conclusion), and with findings only; the others have neither heading."""

TYPO_SHARE = 0.10
"""Share of reports with a typing error."""

LINE_WIDTH = 78

_HEADER = " " * 33 + "FINAL REPORT"
_RULE = " " + "_" * 78


@dataclass(frozen=True)
class _Case:
    """The patient and visits of one report."""

    patient: Patient
    visit: Visit
    previous: Visit | None

    def before(self, finding: str) -> Severities | None:
        return severities_of(self.previous.findings, finding) if self.previous else None

    def now(self, finding: str) -> Severities:
        """Return the severities, or a suspected one if an absent finding is mentioned as uncertain."""
        severities = severities_of(self.visit.findings, finding)
        if self.visit.mentions.of(finding) != UNCERTAIN or any(severities):
            return severities
        return (0, 1) if self.visit.study_id % 2 and finding not in UNSIDED else (1, 0)

    @property
    def is_unchanged(self) -> bool:
        return self.previous is not None and self.previous.findings == self.visit.findings


def write_report(patient: Patient, visit: Visit, previous_visit: Visit | None, rng: np.random.Generator) -> str:
    """Write the report of one visit.

    Args:
        patient: gives the sex in the history.
        visit: its `mentions` decide what the impression states, denies, calls uncertain and leaves out; without an
            impression, the findings section or the only paragraph does.
        previous_visit: the visit before, for comparison; None if there is none.
        rng: of the wording, including the radiologist.

    Returns:
        Text with a leading space on each line, headings as ` IMPRESSION:`, and `___` for removed identifiers.
    """
    voice = Voice(rng, radiologist=int(rng.integers(RADIOLOGISTS)))
    compares = previous_visit is not None and not voice.chance(0.08)
    case = _Case(patient, visit, previous_visit if compares else None)
    sections = _write_front(voice, case, has_prior=previous_visit is not None)
    share = rng.random()
    if share < IMPRESSION_SHARE:
        sections += _write_findings_and_impression(voice, case)
    elif share < IMPRESSION_SHARE + FINDINGS_ONLY_SHARE:
        sections.append(("FINDINGS", [" ".join(map(as_sentence, _state_all(voice, case)))]))
    else:
        sections.append(("", [" ".join(map(as_sentence, _state_all(voice, case)))]))
    text = _lay_out(voice, sections, closing=share < IMPRESSION_SHARE and voice.chance(0.06))
    return _mistype(voice, text) if voice.chance(TYPO_SHARE) else text


def _write_front(voice: Voice, case: _Case, *, has_prior: bool) -> list[tuple[str, list[str]]]:
    """Write the sections before the findings: (heading, paragraphs)."""
    view = case.visit.view_position
    comparison = words.COMPARISONS_LATER if has_prior else words.COMPARISONS_FIRST
    history_heading = ("INDICATION", "HISTORY", "CLINICAL HISTORY", "REASON FOR EXAM", "CLINICAL INFORMATION")
    heading = history_heading[0 if voice.habit("indication", 0.5) else 1 + voice.radiologist % 4]
    exam = "EXAMINATION" if voice.habit("examination", 0.8) else "EXAM"
    front = [(exam, voice.say(voice.pick(words.EXAMINATIONS[view])))]
    front.append((heading, _write_history(voice, case)))
    if voice.chance(0.5):
        front.append(("TECHNIQUE", _pick_line(voice, words.TECHNIQUES[view])))
    if voice.chance(0.88):
        front.append(("COMPARISON", _pick_line(voice, comparison)))
    if voice.chance(0.06):
        front = front[1:]
    return [(name, [text]) for name, text in front]


def _pick_line(voice: Voice, templates: Sequence[str]) -> str:
    return voice.say(voice.pick(templates)).rstrip(".") + "."


def _write_history(voice: Voice, case: _Case) -> str:
    complaint, complaint2 = (voice.say(voice.pick(words.COMPLAINTS)) for _ in range(2))
    who = voice.say(voice.pick(words.PEOPLE[case.patient.sex]))
    question = voice.say(voice.pick(words.QUESTIONS))
    template = voice.pick(words.HISTORIES)
    text = voice.say(template, who=who, complaint2=complaint2, complaint=complaint, question=question)
    stop = "" if text.endswith("?") or voice.habit("no stop in history", 0.4) else "."
    return (text[:1].upper() + text[1:]).rstrip(".") + stop


def _write_findings_and_impression(voice: Voice, case: _Case) -> list[tuple[str, list[str]]]:
    """Write the two sections, or one that is both, or the impression alone."""
    share_of_style = voice.chance(0.05)
    if share_of_style and voice.chance(0.6):
        return [("FINDINGS AND IMPRESSION", [" ".join(map(as_sentence, _state_all(voice, case)))])]
    heading = "CONCLUSION" if share_of_style else "IMPRESSION"
    impression = _number(voice, [as_sentence(clause) for clause in _write_impression(voice, case)])
    if voice.chance(0.2):
        return [(heading, impression)]
    return [("FINDINGS", _paragraphs(voice, _write_findings(voice, case))), (heading, impression)]


def _number(voice: Voice, sentences: list[str]) -> list[str]:
    """Number the statements, or join them to one paragraph."""
    if len(sentences) > 1 and voice.habit("numbers", 0.35):
        return [f"{place}. {sentence}" for place, sentence in enumerate(sentences, 1)]
    return [("  " if voice.habit("two spaces", 0.5) else " ").join(sentences)]


def _paragraphs(voice: Voice, clauses: list[str]) -> list[str]:
    """Write sentences as one paragraph, or as two."""
    sentences = [as_sentence(clause) for clause in clauses]
    gap = "  " if voice.habit("two spaces", 0.5) else " "
    if len(sentences) > 4 and voice.habit("two paragraphs", 0.2):
        return [gap.join(sentences[:3]), "", gap.join(sentences[3:])]
    return [gap.join(sentences)]


def _write_impression(voice: Voice, case: _Case) -> list[str]:
    """Write the clauses of the impression, which state exactly the mentions."""
    mentions = case.visit.mentions
    clauses = _state_mentioned(voice, case, mentions)
    denied = _denied_plainly(case, mentions)
    if mentions.is_clear and (not clauses or voice.chance(0.6)):
        clauses = voice.shuffle([*clauses, voice.say(voice.pick(words.CLEAR_IMPRESSIONS))])
    elif case.is_unchanged and voice.chance(0.5):
        clauses.insert(0, voice.say(voice.pick(words.NO_CHANGE), prior=voice.say(voice.pick(words.PRIOR))))
    if denied:
        clauses += deny(voice, denied, plain_only=True)
    return clauses + _state_devices(voice, case)


def _state_mentioned(voice: Voice, case: _Case, mentions: Mentions) -> list[str]:
    """State the five findings, in random order; plain present ones may share a clause."""
    clauses, plain = [], []
    for finding in voice.shuffle(FINDINGS):
        mention = mentions.of(finding)
        if mention == PRESENT and (case.previous is None or voice.chance(0.06)) and voice.chance(0.45):
            plain.append(name_finding(voice, finding, case.now(finding)))
        else:
            clauses += state_finding(voice, finding, case.now(finding), mention=mention, before=case.before(finding))
    while plain:
        count = 1 if " and " in " ".join(plain[:2]) else 2
        shared, plain = plain[:count], plain[count:]
        clauses.insert(0, voice.pick((" and ", " and ", " with ", " as well as ")).join(shared))
    return clauses


def _denied_plainly(case: _Case, mentions: Mentions) -> list[str]:
    """Return the labels to deny, without those that a statement of resolution denies."""
    resolved = {finding for finding in FINDINGS if case.previous and any(case.before(finding) or ())}
    denied = [finding for finding in FINDINGS if mentions.of(finding) == ABSENT and finding not in resolved]
    return [*denied, *mentions.denied_too]


def _state_devices(voice: Voice, case: _Case) -> list[str]:
    devices = case.visit.devices
    return [
        voice.say(voice.pick(templates))
        for name, templates in words.DEVICE_STATEMENTS.items()
        if getattr(devices, name)
    ]


def _write_findings(voice: Voice, case: _Case) -> list[str]:
    """Write the findings section of a report with an impression, in more detail."""
    mentions = case.visit.mentions
    lungs, denied = [], []
    for finding in FINDINGS:
        mention = mentions.of(finding)
        if mention in (PRESENT, UNCERTAIN):
            lungs += state_finding(voice, finding, case.now(finding), mention=mention, before=case.before(finding))
        elif voice.chance(0.7):
            denied.append(finding)
    if "Consolidation" in mentions.denied_too or voice.chance(0.6):
        denied.append("Consolidation")
    clauses = [*lungs, *deny(voice, denied)]
    if voice.habit("findings in order", 0.5):
        clauses = voice.shuffle(clauses)
    if mentions.is_clear and voice.chance(0.4):
        clauses.insert(0, voice.say(voice.pick(words.CLEAR_LUNGS)))
    return [*_state_devices(voice, case), *_add_surroundings(voice, clauses)]


def _state_all(voice: Voice, case: _Case) -> list[str]:
    """Write everything in one section, if no impression follows: the mentions and the other anatomy."""
    mentions = case.visit.mentions
    clauses = _state_mentioned(voice, case, mentions)
    clauses += deny(voice, _denied_plainly(case, mentions))
    if mentions.is_clear:
        clauses.append(voice.say(voice.pick(words.CLEAR_IMPRESSIONS)))
    return [*_state_devices(voice, case), *_add_surroundings(voice, clauses)]


def _add_surroundings(voice: Voice, clauses: list[str]) -> list[str]:
    """Add lung volumes before, and mediastinum and bones after."""
    before = [voice.say(voice.pick(words.LUNG_VOLUMES))] if voice.chance(0.3) else []
    after = [
        voice.say(voice.pick(templates))
        for templates, chance in ((words.MEDIASTINUM, 0.5), (words.BONES, 0.45))
        if voice.chance(chance)
    ]
    return [*before, *clauses, *after]


def _lay_out(voice: Voice, sections: list[tuple[str, list[str]]], *, closing: bool) -> str:
    """Write headings and paragraphs in the layout of MIMIC-CXR's files."""
    lines = [_HEADER]
    if voice.chance(0.03):
        wet_read = voice.say(voice.pick(words.WET_READS))
        lines = [" WET READ: ___ ___ ___ ___:___ PM", f"  {as_sentence(wet_read)}", _RULE, _HEADER]
    apart = voice.habit("heading on its own line", 0.35)
    for heading, paragraphs in sections:
        last_word = heading in ("FINDINGS", "IMPRESSION", "CONCLUSION", "FINDINGS AND IMPRESSION")
        if heading and last_word and (apart or len(paragraphs) > 1):
            lines += [f" {heading}: ", " "]
        elif heading:
            paragraphs = [f"{heading}:  {paragraphs[0]}", *paragraphs[1:]]
        for paragraph in paragraphs:
            lines += _wrap(paragraph)
        lines.append(" ")
    if closing:
        lines += [*_wrap(voice.say(voice.pick(words.CLOSINGS))), " "]
    return "\n".join(lines[:-1]) + "\n"


def _wrap(paragraph: str) -> list[str]:
    """Wrap one paragraph, with a space before each line; an empty paragraph is a blank line."""
    wrapped = textwrap.wrap(paragraph, LINE_WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f" {line}" for line in wrapped] or [" "]


def _mistype(voice: Voice, text: str) -> str:
    """Mistype one or two words of the body."""
    present = sorted(set(re.findall(r"[a-z]+", text)) & words.TYPOS.keys())
    for word in voice.shuffle(present)[: 1 + int(voice.chance(0.3))]:
        place = voice.pick([match.span() for match in re.finditer(rf"\b{word}\b", text)])
        text = text[: place[0]] + voice.pick(words.TYPOS[word]) + text[place[1] :]
    return text
