"""Reads reports back with a small reader of its own, and compares with what was to be said."""

import re

import numpy as np
import pytest

from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.phrasing.voice import ADVERBS, PREDICATE_WORDS, SEVERITY_WORDS
from biomedjourney_monai.phantom.reports import write_report
from biomedjourney_monai.phantom.seeds import derive_rng
from biomedjourney_monai.schema import FINDINGS

KEYWORDS = {
    "Atelectasis": r"atelecta",
    "Cardiomegaly": r"cardiomegaly|cardiac enlargement|enlargement|enlarged|\bheart\b|cardiac silhouette",
    "Edema": r"edema",
    "Pleural Effusion": r"effusion|pleural fluid",
    "Pneumothorax": r"pneumothora",
}
GONE = r"resol|cleared|no longer|returned to normal|normalized|is now (normal|within)"
DENIED = r"^no (?!.*change in)|^there is no |^negative for|not enlarged|normal|without"
DOUBTED = r"possible|questionable|suspected|cannot|difficult|question of|may |could|excluded|borderline"
HEADINGS = ("IMPRESSION", "CONCLUSION", "FINDINGS AND IMPRESSION", "FINDINGS")


@pytest.fixture(scope="module")
def cases():
    """Patient, visit, visit before and report, of 1500 patients."""
    cases = []
    for index in range(1500):
        patient = draw_patient(23, index)
        for previous, visit in zip([None, *patient.visits], patient.visits):
            cases.append(
                (patient, visit, previous, write_report(patient, visit, previous, derive_rng(5, visit.study_id)))
            )
    return cases


def sections_of(report):
    parts = re.split(r"\n ([A-Z ()/,-]+):\s", "\n" + report)
    return dict(zip(parts[1::2], parts[2::2]))


def sentences_of(report):
    """Return the sentences of the impression, or the findings, or the last paragraph."""
    sections = sections_of(report)
    text = next((sections[name] for name in HEADINGS if name in sections), None)
    if text is None:
        text = re.split(r"\n \n", report.rstrip())[-1]
    text = re.sub(r"(^|\n) *\d+\. ", r"\n", text)
    text = re.sub(r"\s+", " ", text.replace("___.", "___ ."))
    return [sentence.strip().lower() for sentence in re.split(r"\.(?= |$)", text) if sentence.strip(" .")]


def read_mention(sentence):
    if re.search(DOUBTED, sentence):
        return -1
    return 0 if re.search(GONE, sentence) or re.search(DENIED, sentence) else 1


def read_labels(sentences):
    labels = dict.fromkeys(FINDINGS)
    for finding, keyword in KEYWORDS.items():
        found = {read_mention(sentence) for sentence in sentences if re.search(keyword, sentence)}
        labels[finding] = 1 if 1 in found else -1 if -1 in found else 0 if 0 in found else None
    return tuple(labels.values())


def test_reports_say_what_the_labels_say(cases):
    wrong = [
        (visit.mentions.findings, sentences_of(report))
        for _, visit, _, report in cases
        if read_labels(sentences_of(report)) != visit.mentions.findings
    ]
    assert not wrong, f"{len(wrong)} of {len(cases)}, such as {wrong[:3]}"


def test_side_and_severity_of_present_findings_can_be_read_back(cases):
    checked = 0
    for _, visit, _, report in cases:
        for finding, keyword in KEYWORDS.items():
            if visit.mentions.of(finding) != 1:
                continue
            own = [s for s in sentences_of(report) if re.search(keyword, s) and read_mention(s) == 1]
            if any(sum(bool(re.search(k, s)) for k in KEYWORDS.values()) > 1 for s in own):
                continue  # shared with another finding
            text = " ; ".join(own)
            sides = {
                "left": visit.findings.severity(finding, "left"),
                "right": visit.findings.severity(finding, "right"),
            }
            words = {**SEVERITY_WORDS[finding]}
            for severity in words:
                words[severity] += PREDICATE_WORDS[finding][severity]
                words[severity] += ADVERBS[severity] if finding == "Cardiomegaly" else ()
            said = {severity for severity, options in words.items() if re.search(rf"\b({'|'.join(options)})\b", text)}
            assert said == {severity for severity in sides.values() if severity}, text
            if finding not in ("Cardiomegaly", "Edema"):
                both = re.search(r"bilateral|bibasilar", text)
                named = {side for side in sides if both or re.search(rf"\b{side}\b", text)}
                assert named == {side for side, severity in sides.items() if severity}, text
            checked += 1
    assert checked > 4000


def test_severity_words_are_unambiguous():
    for finding, words in SEVERITY_WORDS.items():
        for tables in (words, PREDICATE_WORDS[finding]):
            options = [set(tables[severity]) for severity in (1, 2, 3)]
            assert not (options[0] & options[1] or options[1] & options[2] or options[0] & options[2]), finding


def test_shares_of_layouts_are_mimics(cases):
    with_impression = findings_only = 0
    for *_, report in cases:
        names = sections_of(report).keys()
        if names & {"IMPRESSION", "CONCLUSION", "FINDINGS AND IMPRESSION"}:
            with_impression += 1
        elif "FINDINGS" in names:
            findings_only += 1
    assert with_impression / len(cases) == pytest.approx(0.832, abs=0.02)
    assert findings_only / len(cases) == pytest.approx(0.122, abs=0.02)


def test_layout_is_mimics(cases):
    for *_, report in cases[:600]:
        assert "FINAL REPORT\n" in report and report.endswith("\n")
        lines = report.split("\n")[:-1]
        assert all(line.startswith(" ") and len(line) <= 84 for line in lines)  # 79, and a slip of typing
        assert not re.search(r"[<>{}|]", report)


def test_no_two_reports_read_alike(cases):
    bodies = [" ".join(sentences_of(report)) for _, visit, _, report in cases if not visit.mentions.is_clear]
    assert len(set(bodies)) > 0.9 * len(bodies)


def test_change_is_told_only_where_there_is_a_prior(cases):
    told = re.compile(r"\b(new|unchanged|increased|decreased|worsen\w*|improv\w*|resolved)\b")
    first = [bool(told.search(" ".join(sentences_of(report)))) for _, _, previous, report in cases if previous is None]
    later = [bool(told.search(" ".join(sentences_of(report)))) for _, _, previous, report in cases if previous]
    assert np.mean(first) == 0 and np.mean(later) > 0.6


def test_history_fits_the_sex(cases):
    for patient, *_, report in cases[:800]:
        wrong = r"\b(man|male|M)\b" if patient.sex == "F" else r"\b(woman|female|F)\b"
        history = " ".join(
            text for name, text in sections_of(report).items() if name.startswith(("IND", "HIST", "REAS"))
        )
        assert not re.search(rf"___[ -](year|yo).*{wrong}", history)


def test_the_same_randomness_writes_the_same_report():
    patient = draw_patient(1, 2)
    texts = {write_report(patient, patient.visits[0], None, np.random.default_rng(9)) for _ in range(2)}
    assert len(texts) == 1
