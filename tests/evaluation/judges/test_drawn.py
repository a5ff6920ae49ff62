from types import SimpleNamespace

import numpy as np
import torch

from biomedjourney_monai.evaluation.judges.drawn import NOT_SEEN, UNASKED, warn_of_unseen
from biomedjourney_monai.schema import FINDINGS

PRIOR = np.zeros((32, 32), np.float32)
EFFUSION, EDEMA = FINDINGS.index("Pleural Effusion"), FINDINGS.index("Edema")


class Bright:
    """Sees an effusion in a bright image, and edema in a very bright one."""

    def score(self, images):
        seen = torch.zeros(len(images), len(FINDINGS))
        seen[:, EFFUSION], seen[:, EDEMA] = images.amax(dim=(1, 2, 3)), images.amax(dim=(1, 2, 3)) - 0.4
        return SimpleNamespace(pathology=seen)


def picture(value: float, *, patient_side: str) -> np.ndarray:
    image = PRIOR.copy()
    image[:, slice(24, 32) if patient_side == "left" else slice(0, 8)] = value
    return image


def warnings(description: str, image: np.ndarray) -> tuple[str, ...]:
    return warn_of_unseen(Bright(), PRIOR, image, description)


def test_a_finding_on_its_side_is_no_reason_to_warn():
    assert warnings("New L pl eff.", picture(0.8, patient_side="left")) == ()


def test_a_finding_on_the_other_side_is_warned_of():
    missing, other = warnings("New left effusion.", picture(0.8, patient_side="right"))
    assert "does not see" in missing and "other side" in other and NOT_SEEN in missing


def test_what_should_be_gone_or_was_not_asked_for_is_warned_of():
    assert "still sees" in warnings("The left effusion has resolved.", picture(0.8, patient_side="left"))[0]
    assert UNASKED in warnings("New left effusion.", picture(1.0, patient_side="left"))[0]
