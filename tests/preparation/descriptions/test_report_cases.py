"""Whole reports that were once misread: what a description must say of them, and must not."""

import re

import pytest

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.preparation.descriptions.run import describe_reports
from biomedjourney_monai.preparation.reports.sections import parse_report
from biomedjourney_monai.preparation.reports.text_labels import read_labels

CLEAR = (
    "FINAL REPORT\n FINDINGS: Lungs are clear. Heart size is normal.\n\n IMPRESSION: No acute cardiopulmonary process."
)
EFFUSION = "IMPRESSION: Moderate left pleural effusion. No pneumothorax. Heart size is normal."
THREE = "IMPRESSION: Moderate left pneumothorax, moderate right pleural effusion and moderate pulmonary edema."
BY_NOUN = """IMPRESSION:
Pleural effusion: None.
Pneumothorax: None.
Cardiomegaly: Mild.
Edema: No.
Consolidation: Absent."""
HEDGED = "IMPRESSION: Low suspicion for pneumonia. Pneumonia is unlikely. Doubt effusion."
PARTLY = (
    "IMPRESSION: Partial resolution of left pneumothorax. Near-complete resolution of right pleural effusion. "
    "Incomplete clearing of edema."
)
TEMPLATE = """EXAM: Chest PA

FINDINGS:
LUNGS: Clear.
PLEURA: Small left pleural effusion. No pneumothorax.
HEART: Mildly enlarged.
BONES: Normal."""
GREATER = "IMPRESSION: Bilateral pleural effusions, right greater than left."


@pytest.fixture
def describe(tmp_path):
    def write(prior: str, new: str, seed: int = 0) -> str:
        for name, text in (("prior", prior), ("new", new)):
            (tmp_path / name).write_text(text, encoding="utf-8")
        return describe_reports(tmp_path / "prior", tmp_path / "new", seed=seed).text

    return write


@pytest.mark.parametrize(
    ("prior", "new", "said", "unsaid"),
    [
        (CLEAR, BY_NOUN, "mild cardiomegaly", "new pl|(?:effusion|pneumothorax|edema) ha(?:s|ve) developed"),
        (CLEAR, "IMPRESSION: There is neither pneumothorax nor pleural effusion.", "", "developed|new p|now a"),
        (CLEAR, HEDGED, "possible|questionable", "developed|new p|there is now"),
        (CLEAR, "IMPRESSION: ?Left effusion. Pneumonia?", "possible|questionable", "developed|new p|there is now"),
        (CLEAR, "IMPRESSION: Recommend CT to exclude pneumonia.", "possible|questionable", "new p|there is now"),
        (THREE, PARTLY, "improv|decreas", "resol|no longer|cleared"),
        ("IMPRESSION: Small bilateral pleural effusions.", GREATER, "unchanged|stable|persistent", "worse|increas"),
        (CLEAR, TEMPLATE, "small left pleural effusion", "remains clear|moderate|severe"),
        (CLEAR, TEMPLATE, "mild cardiomegaly", "pneumothorax has"),
        (CLEAR, "IMPRESSION: Stable.\n\nADDENDUM: There is a small left pneumothorax.", "small left pneumothorax", "-"),
        (CLEAR, "FINDINGS: Small left effusion.\n\nIMPRESSION: As above.", "small left pleural effusion", "clear"),
    ],
)
def test_a_misread_report_is_read(describe, prior, new, said, unsaid):
    for seed in range(6):
        text = describe(prior, new, seed).lower()
        assert re.search(said, text) and not re.search(unsaid, text)


@pytest.mark.parametrize(
    "new",
    [
        "IMPRESSION: As above.",
        "IMPRESIÓN: Derrame pleural izquierdo pequeño. Sin neumotórax.",
        "Kein Pneumothorax. Kleiner Pleuraerguss links.",
    ],
)
def test_a_report_that_says_nothing_readable_is_refused_and_never_clear(describe, new):
    labels = read_labels(parse_report(new).summary)
    assert all(value != value for value in labels.values())
    with pytest.raises(TableError, match="cannot be described"):
        describe(EFFUSION, new)


def test_labels_of_partial_resolution():
    labels = read_labels(parse_report(PARTLY).summary)
    assert labels["Edema"] == labels["Pneumothorax"] == labels["Pleural Effusion"] == 1
    assert labels["No Finding"] != labels["No Finding"]
