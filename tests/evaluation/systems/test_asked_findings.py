import numpy as np
import pytest

from biomedjourney_monai.evaluation.systems.asked_findings import (
    AskedFinding,
    asked_severities,
    one_sided_onsets,
    targets_of,
)
from biomedjourney_monai.schema import FINDINGS

HEALTHY = dict.fromkeys(FINDINGS, 0.0)


def test_the_worse_side_gives_the_severity():
    requests = {"Pleural Effusion": AskedFinding({"left": 1, "right": 3}), "Edema": AskedFinding({"": 2})}
    np.testing.assert_array_equal(asked_severities(requests), [np.nan, np.nan, 2, 3, np.nan])


@pytest.mark.parametrize(
    "request_", [AskedFinding({"": 2}, uncertain=True), AskedFinding({"": 0}), AskedFinding(denied=frozenset([""]))]
)
def test_what_is_in_doubt_unmeasured_or_denied_has_no_severity(request_):
    assert np.isnan(asked_severities({"Edema": request_})).all()


def test_an_onset_on_one_side_is_found():
    requests = {"Pneumothorax": AskedFinding({"right": 2})}
    assert one_sided_onsets(requests, prior_labels=HEALTHY) == {"Pneumothorax": "right"}
    assert one_sided_onsets(requests, prior_labels={"Pneumothorax": np.nan}) == {"Pneumothorax": "right"}


@pytest.mark.parametrize(
    "request_, prior",
    [
        (AskedFinding({"right": 2}), 1.0),  # it was there before
        (AskedFinding({"right": 2}), -1.0),  # or may have been
        (AskedFinding({"left": 1, "right": 2}), 0.0),
        (AskedFinding({"": 2}), 0.0),
        (AskedFinding({"right": 2}, unchanged=frozenset(["right"])), 0.0),
        (AskedFinding({"right": 2}, uncertain=True), 0.0),
    ],
)
def test_no_other_request_is_a_one_sided_onset(request_, prior):
    assert one_sided_onsets({"Pneumothorax": request_}, prior_labels={"Pneumothorax": prior}) == {}


def test_a_finding_without_sides_is_no_one_sided_onset():
    assert one_sided_onsets({"Edema": AskedFinding({"left": 2})}, prior_labels=HEALTHY) == {}


def test_targets_are_what_is_to_change():
    requests = {
        "Pleural Effusion": AskedFinding({"left": 2, "right": 1}, unchanged=frozenset(["right"])),
        "Pneumothorax": AskedFinding(denied=frozenset(["right"])),
        "Edema": AskedFinding(denied=frozenset([""])),
        "Cardiomegaly": AskedFinding({"": 1}),
        "Atelectasis": AskedFinding({"": 1}),
    }
    prior = {**HEALTHY, "Pneumothorax": 1.0}
    assert targets_of(requests, prior_labels=prior) == [
        ("Atelectasis", "left"),
        ("Atelectasis", "right"),
        ("Cardiomegaly", ""),
        ("Pleural Effusion", "left"),
        ("Pneumothorax", "right"),
    ]
