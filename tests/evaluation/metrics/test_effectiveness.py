import numpy as np
import pytest
import torch

from biomedjourney_monai.evaluation.judges.judged import Batch, Judged
from biomedjourney_monai.evaluation.judges.scores import JudgeScores
from biomedjourney_monai.evaluation.metrics.effectiveness import Effectiveness
from biomedjourney_monai.evaluation.systems.asked_findings import AskedFinding
from biomedjourney_monai.schema import FINDINGS


def _judged(pathology):
    scores = JudgeScores(torch.tensor([pathology]), torch.zeros(1, 3), torch.zeros(1), torch.zeros(1, 6, 8, 8).bool())
    return Judged("x", torch.zeros(1, 1, 8, 8), scores, np.ones(1, bool))


def _measure(requests, before, after, **labels):
    prior = _judged(before)
    row = {"journey_id": "a", **{f"prior_{f}": labels.get(f, 0.0) for f in FINDINGS}}
    batch = Batch([row], prior=prior, reference=prior, judges=None)
    measure = Effectiveness({"a": requests})
    measure.begin(batch)
    return dict(zip(measure.columns, measure.measure(_judged(after), batch)[0]))


def test_what_is_to_appear_must_be_seen_and_what_is_to_go_must_not():
    requests = {"Edema": AskedFinding({"": 2}), "Cardiomegaly": AskedFinding(denied=frozenset([""]))}
    before, after = [0.1, 0.9, 0.1, 0.2, 0.1], [0.1, 0.6, 0.8, 0.2, 0.4]
    found = _measure(requests, before, after, Cardiomegaly=1.0)
    assert found["effectiveness Edema"] == 1
    assert found["effectiveness Cardiomegaly"] == 0
    assert np.isnan(found["effectiveness Atelectasis"])
    assert found["others_moved overall"] == pytest.approx(0.1)  # 0, 0 and 0.3 over the three that are not spoken of


def test_growth_doubt_and_a_partial_denial_ask_for_nothing_that_a_threshold_can_tell():
    requests = {
        "Pleural Effusion": AskedFinding({"left": 3}),
        "Edema": AskedFinding({"": 1}, uncertain=True),
        "Pneumothorax": AskedFinding({"left": 1}, denied=frozenset(["right"])),
    }
    found = _measure(requests, [0.9] * 5, [0.9] * 5, **{"Pleural Effusion": 1.0, "Pneumothorax": 1.0})
    assert all(np.isnan(found[f"effectiveness {finding}"]) for finding in FINDINGS)
    assert found["others_moved overall"] == 0


def test_without_a_description_nothing_is_known():
    assert all(np.isnan(value) for value in _measure({}, [0.1] * 5, [0.9] * 5).values())
