import pytest

from biomedjourney_monai.clinic.web.page import CHANGES, FINDINGS, all_suggestions, suggest
from biomedjourney_monai.preparation.descriptions.request import is_canonical
from biomedjourney_monai.preparation.reports.statements import read_statements
from biomedjourney_monai.schema import FINDINGS as LABELS

SEVERITY = {"small": 1, "mild": 1, "moderate": 2, "large": 3, "severe": 3}
TREND = {"worse": "worse", "better": "better", "unchanged": "same"}
EVERY = all_suggestions()


def test_there_is_a_suggestion_for_each_finding_side_severity_and_change():
    assert {finding.label for finding in FINDINGS} == set(LABELS)
    assert len(EVERY) == len({one.sentence for one in EVERY}) == 3 * 3 * (4 * 3 + 1) + 2 * (4 * 3 + 1)
    assert {one.change for one in EVERY} == set(CHANGES)


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.sentence)
def test_a_suggestion_says_what_was_chosen(one):
    (statement,) = read_statements(one.sentence).values()
    assert is_canonical(one.sentence) and set(read_statements(one.sentence)) == {one.finding}
    sides = {"left": {"left"}, "right": {"right"}, "bilateral": {"left", "right"}, "": {""}}[one.side]
    if one.change == "resolved":
        assert not statement.is_present
        assert statement.denied == sides
    else:
        assert statement.severities == dict.fromkeys(sides, SEVERITY[one.severity])
        assert set(statement.trends.values()) == ({TREND[one.change]} if one.change in TREND else set())
        assert not statement.uncertain


@pytest.mark.parametrize(
    "choice",
    [
        {"label": "Fracture", "severity": "mild"},
        {"label": "Edema", "severity": "large"},
        {"label": "Edema", "severity": "mild", "side": "left"},
        {"label": "Pneumothorax", "severity": "small"},
        {"label": "Edema", "severity": "mild", "change": "gone"},
    ],
)
def test_other_choices_are_refused(choice):
    with pytest.raises(ValueError, match="a suggestion must name"):
        suggest(choice.pop("label"), **choice)
