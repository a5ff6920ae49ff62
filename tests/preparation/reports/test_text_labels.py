import csv
import importlib.util
import tarfile
import xml.etree.ElementTree as ElementTree
from math import isnan
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.preparation.reports.sections import clean
from biomedjourney_monai.preparation.reports.text_labels import read_labels
from biomedjourney_monai.schema import CHEXPERT_LABELS, FINDINGS

LABELLED = Path(__file__).with_name("indiana_labels.csv")


@pytest.mark.parametrize(
    ("text", "label", "expected"),
    [
        ("Widened mediastinum.", "Enlarged Cardiomediastinum", 1),
        ("Heart size and mediastinal contours are normal.", "Enlarged Cardiomediastinum", 0),
        ("Heart size, mediastinal silhouette, pulmonary vascularity are within normal limits.", "Cardiomegaly", 0),
        ("Healed left rib fracture.", "Fracture", 1),
        ("No nodules or masses.", "Lung Lesion", 0),
        ("Right upper lobe infiltrate.", "Lung Opacity", 1),
        ("Pleural thickening.", "Pleural Other", 1),
        ("Opacity that may represent atelectasis or pneumonia.", "Pneumonia", -1),
        ("Opacity that may represent atelectasis or pneumonia.", "Lung Opacity", 1),
        ("Minimal scarring or subsegmental atelectasis.", "Atelectasis", -1),
        ("Cardiomegaly with possible pericardial effusion.", "Cardiomegaly", 1),
        ("Mild congestive heart failure.", "Edema", 1),
        ("Pacemaker in place.", "Support Devices", 1),
        ("No pneumothorax following removal of chest tubes.", "Support Devices", 0),
        ("Lungs are clear.", "No Finding", 1),
    ],
)
def test_a_label_from_text(text, label, expected):
    assert read_labels(text)[label] == expected


def test_no_finding_goes_with_nothing_present_or_in_doubt():
    assert read_labels("No effusion. Pacemaker.")["No Finding"] == 1
    assert isnan(read_labels("Possible effusion.")["No Finding"])
    assert all(isnan(value) for value in read_labels("").values())


@pytest.mark.parametrize(("part", "at_least"), [("development", 0.99), ("held out", 0.97)])
def test_agreement_with_real_impressions_that_were_labelled_by_reading(part, at_least):
    texts = read_indiana_impressions()
    agreed = total = 0
    with LABELLED.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["part"] == part]
    assert len(rows) >= (100 if part == "development" else 60)
    for row in rows:
        found = read_labels(clean(texts[row["uid"]]))
        for label in FINDINGS:
            wanted = row[label].partition(" ")[0]
            if wanted != "?":
                total += 1
                agreed += wanted == ("" if isnan(found[label]) else str(int(found[label])))
    assert agreed / total >= at_least


def read_indiana_impressions() -> dict[str, str]:
    """uid → impression, of the reports that torchxrayvision's package carries."""
    package = importlib.util.find_spec("torchxrayvision").origin
    texts = {}
    with tarfile.open(Path(package).parent / "data" / "NLMCXR_reports.tgz") as archive:
        for member in archive:
            if member.name.endswith(".xml"):
                root = ElementTree.fromstring(archive.extractfile(member).read())
                uid = root.find("uId").get("id")
                texts[uid] = "".join(p.text or "" for p in root.iter("AbstractText") if p.get("Label") == "IMPRESSION")
    return texts


@given(st.text(max_size=200))
def test_any_text_gives_the_fourteen_labels(text):
    labels = read_labels(text)
    assert tuple(labels) == CHEXPERT_LABELS
    assert all(isnan(value) or value in (1, 0, -1) for value in labels.values())
