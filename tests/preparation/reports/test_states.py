from math import nan

import pytest

from biomedjourney_monai.preparation.reports.states import Change, State, StudyState, compare_states, read_state
from biomedjourney_monai.schema import CHEXPERT_LABELS

EFFUSION = "Pleural Effusion"
UNLABELLED = dict.fromkeys(CHEXPERT_LABELS, nan)


def labels(**values: float) -> dict[str, float]:
    return UNLABELLED | {name.replace("_", " "): value for name, value in values.items()}


def changes(prior: dict[str, int] | None, new: dict[str, int] | None, **trends: str) -> set[tuple]:
    states = [StudyState({EFFUSION: State(s)} if s else {}) for s in (prior, new)]
    if trends:
        states[1] = StudyState({EFFUSION: State(new, trends={side.strip("_"): t for side, t in trends.items()})})
    return {(change.kind, *sorted(change.severities.items())) for change in compare_states(*states)}


def test_labels_say_what_is_there_and_the_text_where_and_how_much():
    state = read_state(labels(Pleural_Effusion=1, Edema=0), "Small left effusion. Mild edema.")
    assert state.findings == {EFFUSION: State({"left": 1})}
    assert state.denied == ("Edema",)


def test_a_label_without_text_has_neither_side_nor_severity():
    assert read_state(labels(Pneumothorax=1), "").findings == {"Pneumothorax": State({"": 0})}


def test_without_labels_the_text_decides():
    state = read_state(UNLABELLED, "Possible small left effusion. Moderate cardiomegaly. No edema.")
    assert state.findings["Cardiomegaly"].severities == {"": 2}
    assert state.findings[EFFUSION].uncertain and "Edema" not in state.findings


def test_an_uncertain_label_is_uncertain_whatever_the_text_says():
    assert read_state(labels(Edema=-1), "Mild edema.").findings["Edema"].uncertain


def test_an_opacity_beside_its_cause_is_not_named_twice():
    assert list(read_state(labels(Lung_Opacity=1, Edema=1), "").findings) == ["Edema"]
    assert list(read_state(labels(Lung_Opacity=1, Fracture=1), "").findings) == ["Lung Opacity"]


@pytest.mark.parametrize(
    ("prior", "new", "expected"),
    [
        (None, {"left": 2}, {("new", ("left", 2))}),
        ({"left": 2}, None, {("resolved", ("left", 2))}),
        ({"left": 1}, {"left": 3}, {("worse", ("left", 3))}),
        ({"left": 3}, {"left": 1}, {("better", ("left", 1))}),
        ({"left": 2}, {"left": 2}, {("same", ("left", 2))}),
        ({"left": 1}, {"right": 1}, {("new", ("right", 1)), ("resolved", ("left", 1))}),
        ({"left": 1, "right": 2}, {"left": 2, "right": 3}, {("worse", ("left", 2), ("right", 3))}),
        ({"left": 1, "right": 2}, {"left": 2, "right": 2}, {("worse", ("left", 2)), ("same", ("right", 2))}),
        ({"": 0}, {"left": 2}, {("same", ("left", 2))}),
        ({"left": 1}, {"": 3}, {("worse", ("", 3))}),
        (None, None, set()),
    ],
)
def test_side_by_side(prior, new, expected):
    assert changes(prior, new) == expected


def test_the_reports_own_trend_counts_within_a_grade_but_not_against_it():
    assert changes({"left": 1}, {"left": 1}, left="worse") == {("worse", ("left", 1))}
    assert changes({"left": 0}, {"left": 1}, left="better") == {("better", ("left", 1))}
    assert changes({"left": 3}, {"left": 1}, left="worse") == {("better", ("left", 1))}


def test_doubt_on_either_side():
    certain, doubted = (StudyState({"Edema": State({"": 1}, uncertain)}) for uncertain in (False, True))
    clear = StudyState({})
    assert compare_states(clear, doubted) == [Change("Edema", "possible", {"": 1})]
    assert compare_states(doubted, clear) == [Change("Edema", "absent", {"": 1})]
    assert compare_states(doubted, certain) == [Change("Edema", "same", {"": 1})]


def test_devices_and_their_label():
    state = read_state(labels(Support_Devices=1), "Pacemaker in place.")
    assert state.devices == ("pacemaker",) and state.has_devices is True
    assert read_state(labels(Edema=1), "").has_devices is False
    assert read_state(UNLABELLED, "").has_devices is None


def test_the_findings_section_gives_what_the_impression_lacks():
    details = "Small right effusion. Mild cardiomegaly. Moderate edema."
    state = read_state(labels(Pleural_Effusion=1, Edema=1, Cardiomegaly=0), "Effusion. Mild edema.", details=details)
    assert state.findings == {"Edema": State({"": 1}), EFFUSION: State({"right": 1})}
    state = read_state(UNLABELLED, "Effusion. No edema.", details=details)
    assert state.findings == {"Cardiomegaly": State({"": 1}), EFFUSION: State({"right": 1})}
    assert state.denied == ("Edema",)


def test_a_report_without_labels_that_passes_a_finding_over_does_not_resolve_it():
    prior = read_state(UNLABELLED, "Edema. Left effusion.")
    silent, clear = read_state(UNLABELLED, "Left effusion."), read_state(UNLABELLED, "The lungs are clear.")
    assert [change.kind for change in compare_states(prior, silent)] == ["same"]
    assert [change.kind for change in compare_states(prior, clear)] == ["resolved", "resolved"]


def test_an_opacity_beside_its_cause_has_not_resolved():
    prior, new = (read_state(labels(Lung_Opacity=1, Atelectasis=a), "") for a in (0, 1))
    assert [(change.label, change.kind) for change in compare_states(prior, new)] == [("Atelectasis", "new")]
