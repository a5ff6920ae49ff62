import numpy as np
import pytest

from biomedjourney_monai.phantom.findings import Devices, FindingState
from biomedjourney_monai.phantom.mentions import Mentions, chexpert_labels, draw_mentions
from biomedjourney_monai.schema import CHEXPERT_LABELS


def test_present_findings_are_always_mentioned_and_never_denied():
    rng = np.random.default_rng(0)
    state = FindingState(edema=1, effusion_left=2, pneumothorax_right=3)
    drawn = [draw_mentions(rng, state) for _ in range(500)]
    assert {m.of("Pneumothorax") for m in drawn} == {1}
    assert {m.of("Edema") for m in drawn} == {1, -1}
    assert {m.of("Atelectasis") for m in drawn} == {0, -1, None}


def test_what_has_resolved_is_seldom_passed_over():
    rng = np.random.default_rng(1)
    passed_over = [
        np.mean([draw_mentions(rng, FindingState(), prior).of("Edema") is None for _ in range(600)])
        for prior in (None, FindingState(edema=2))
    ]
    assert passed_over[1] < 0.2 < 0.4 < passed_over[0]


def test_labels_by_hand():
    mentions = Mentions((1, 0, None, -1, None), denied_too=("Consolidation",))
    labels = chexpert_labels(mentions, Devices(pacemaker=True))
    assert tuple(labels) == CHEXPERT_LABELS
    assert {name: label for name, label in labels.items() if label is not None} == {
        "Atelectasis": 1,
        "Cardiomegaly": 0,
        "Consolidation": 0,
        "Pleural Effusion": -1,
        "Support Devices": 1,
    }


@pytest.mark.parametrize(("findings", "expected"), [((0, None, 0, None, 0), 1), ((0, -1, 0, 0, 0), None)])
def test_no_finding_only_where_nothing_is_present_or_in_doubt(findings, expected):
    assert chexpert_labels(Mentions(findings), Devices())["No Finding"] == expected
