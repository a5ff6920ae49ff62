import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.preparation.reports.statements import Statement, read_devices, read_statements
from biomedjourney_monai.preparation.reports.vocabulary import ANY_DEVICE, DEVICES, PARTS, TERMS

EFFUSION, PNEUMOTHORAX = "Pleural Effusion", "Pneumothorax"


@pytest.mark.parametrize(
    ("text", "label", "severities"),
    [
        ("Small left pleural effusion.", EFFUSION, {"left": 1}),
        ("There is a large right-sided effusion.", EFFUSION, {"right": 3}),
        ("Moderate bilateral pleural effusions.", EFFUSION, {"left": 2, "right": 2}),
        ("Small left and large right pleural effusions.", EFFUSION, {"left": 1, "right": 3}),
        ("Moderate-sized right and tiny left pleural effusions.", EFFUSION, {"left": 1, "right": 2}),
        ("Bilateral effusions, small on the left and large on the right.", EFFUSION, {"left": 1, "right": 3}),
        ("Small to moderate left effusion.", EFFUSION, {"left": 2}),
        ("Left effusion.", EFFUSION, {"left": 0}),
        ("Pleural effusions.", EFFUSION, {"": 0}),
        ("Blunting of the left costophrenic angle may represent a trace effusion.", EFFUSION, {"left": 1}),
        ("Interval increase in the left effusion, now large.", EFFUSION, {"left": 3}),
        ("Small effusion on the right and mild left atelectasis.", EFFUSION, {"right": 1}),
        ("Small effusion on the right and mild left atelectasis.", "Atelectasis", {"left": 1}),
        ("Severe bibasilar atelectasis.", "Atelectasis", {"left": 3, "right": 3}),
        ("Mild atelectasis at the left base.", "Atelectasis", {"left": 1}),
        ("The heart is moderately enlarged.", "Cardiomegaly", {"": 2}),
        ("Mild enlargement of the cardiac silhouette.", "Cardiomegaly", {"": 1}),
        ("Heart size has increased and is now severely enlarged.", "Cardiomegaly", {"": 3}),
        ("Moderate cardiomegaly with mild interstitial edema.", "Edema", {"": 1}),
        ("Moderate cardiomegaly with mild interstitial edema.", "Cardiomegaly", {"": 2}),
        ("No change in moderate edema.", "Edema", {"": 2}),
        ("No significant interval change in the small right pneumothorax.", PNEUMOTHORAX, {"right": 1}),
        ("Right pleural effusion, grossly stable.", EFFUSION, {"right": 0}),
        ("Bibasilar airspace disease, possibly atelectasis.", "Atelectasis", {"left": 0, "right": 0}),
        ("Small left pneumothorax, not seen on the prior study.", PNEUMOTHORAX, {"left": 1}),
    ],
)
def test_what_is_present(text, label, severities):
    statement = read_statements(text)[label]
    assert statement.severities == severities


@pytest.mark.parametrize(
    "text",
    [
        "No pneumothorax.",
        "No edema, effusion, or pneumothorax.",
        "No pleural effusion, evidence of pneumonia, or large pneumothorax.",
        "There is no evidence of pneumothorax.",
        "Negative for effusion or pneumothorax.",
        "The left pneumothorax has resolved.",
        "The left effusion and the right pneumothorax have resolved.",
        "Resolution of the edema, the left effusion, and the right pneumothorax.",
        "Previously seen right pneumothorax is no longer seen.",
        "Interval clearing of the pneumothorax.",
        "Lungs are free of edema or pneumothorax.",
        "The lungs are clear of focal airspace disease, pneumothorax, or pleural effusion.",
        "No focal consolidation, suspicious pulmonary opacity, large pleural effusion, or pneumothorax is identified.",
    ],
)
def test_what_is_denied_or_gone(text):
    statement = read_statements(text)[PNEUMOTHORAX]
    assert not statement.is_present and statement.denied


@pytest.mark.parametrize(
    "text", ["Heart size is normal.", "The cardiac silhouette is not enlarged.", "The heart is no longer enlarged."]
)
def test_a_normal_heart(text):
    assert not read_statements(text)["Cardiomegaly"].is_present


def test_a_denied_list_ends_where_something_is_stated():
    statements = read_statements("No pneumothorax, moderate left effusion.")
    assert statements[EFFUSION].severities == {"left": 2} and not statements[PNEUMOTHORAX].is_present
    statements = read_statements("Small right effusion without pneumothorax, and mild edema.")
    assert statements[EFFUSION].severities == {"right": 1} and statements["Edema"].severities == {"": 1}
    statements = read_statements("Slight cardiomegaly with no evidence for failure or pneumonia.")
    assert statements["Cardiomegaly"].severities == {"": 1} and not statements["Pneumonia"].is_present
    statements = read_statements("The effusion is unchanged and the edema has resolved.")
    assert statements[EFFUSION].is_present and not statements["Edema"].is_present


@pytest.mark.parametrize(
    ("text", "uncertain"),
    [
        ("Possible small left effusion.", True),
        ("Cannot exclude a small left effusion.", True),
        ("A small left effusion is suspected.", True),
        ("Newly apparent small left effusion.", False),
        ("Small left effusion. Possible left atelectasis.", False),
        ("Borderline cardiomegaly. Small left effusion.", False),
    ],
)
def test_doubt(text, uncertain):
    assert read_statements(text)[EFFUSION].uncertain == uncertain


@pytest.mark.parametrize(
    ("text", "trends"),
    [
        ("Increased small left effusion.", {"left": "worse"}),
        ("The left effusion has improved, now small. Large right effusion.", {"left": "better"}),
        ("Unchanged left and right effusions.", {"left": "same", "right": "same"}),
        ("New left effusion.", {}),
    ],
)
def test_trends(text, trends):
    assert read_statements(text)[EFFUSION].trends == trends


def test_one_side_gone_and_the_other_left():
    statement = read_statements("Resolution of the left effusion. Small right effusion persists.")[EFFUSION]
    assert statement.severities == {"right": 1} and statement.denied == {"left"}


def test_a_pericardial_effusion_is_another_matter():
    assert EFFUSION not in read_statements("Small pericardial effusion.")


def test_devices():
    text = "Endotracheal tube in standard position. Sternotomy wires are intact. The chest tube has been removed."
    assert read_devices(text) == ["endotracheal tube", "sternotomy wires"]


def test_nothing_said():
    assert read_statements("") == {} and read_devices("") == []
    assert read_statements("No acute cardiopulmonary process.") == {}
    assert Statement().is_present is False


@given(st.text(max_size=200))
def test_any_text_is_read(text):
    for statement in read_statements(text).values():
        assert set(statement.severities) <= {"left", "right", ""} and set(statement.severities.values()) <= {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("names", "part"),
    [*((TERMS[label], PARTS[label]) for label in TERMS), *((names, ANY_DEVICE) for names in DEVICES.values())],
)
@given(data=st.data())
def test_every_name_holds_a_part_that_is_looked_for_first(names, part, data):
    assert part.search(data.draw(st.from_regex(re.compile(names, re.ASCII), fullmatch=True)))
