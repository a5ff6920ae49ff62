from types import SimpleNamespace

import numpy as np
import pytest
import torch

from biomedjourney_monai.evaluation.judges import drawn
from biomedjourney_monai.evaluation.judges.drawn import NOT_SEEN, UNASKED, JudgeReview, warn_of_unseen
from biomedjourney_monai.schema import FINDINGS

PRIOR = np.zeros((32, 32), np.float32)
EFFUSION, EDEMA = FINDINGS.index("Pleural Effusion"), FINDINGS.index("Edema")


class Bright:
    """Sees an effusion in a bright image, and edema in a very bright one."""

    trusted = frozenset(FINDINGS)

    def finding_logits(self, images):
        seen = torch.zeros(len(images), len(FINDINGS))
        seen[:, EFFUSION], seen[:, EDEMA] = images.amax(dim=(1, 2, 3)), images.amax(dim=(1, 2, 3)) - 0.4
        return torch.logit(seen.clamp(0, 1))


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


def test_nothing_is_said_of_findings_that_the_judge_is_not_trusted_with(monkeypatch):
    monkeypatch.setattr(Bright, "trusted", frozenset())
    assert warnings("New left effusion.", picture(1.0, patient_side="right")) == ()


def checked(description: str) -> SimpleNamespace:
    return SimpleNamespace(prior=SimpleNamespace(image=PRIOR), description=description)


def test_a_review_counts_the_samples_and_says_nothing_of_priors_that_no_judge_knows(tmp_path, monkeypatch):
    review = JudgeReview(tmp_path)
    monkeypatch.setattr(review, "judges_for", lambda prior: Bright())
    samples = np.stack([PRIOR, picture(0.8, patient_side="left"), PRIOR])
    (warning,) = review(checked("New left effusion."), samples)
    assert NOT_SEEN in warning and warning.endswith("in 2 of 3 samples")
    monkeypatch.setattr(review, "judges_for", lambda prior: None)
    assert review(checked("New left effusion."), samples) == ()


def test_the_judges_of_a_prior_are_found_once(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(drawn, "load_judges_by_name", lambda folder: {"bright": Bright()})
    monkeypatch.setattr(drawn, "judge_for", lambda judges, prior: asked.append(prior) or judges["bright"])
    review, other = JudgeReview(tmp_path), PRIOR + 1
    first, again, of_other = (review.judges_for(prior) for prior in (PRIOR, PRIOR.copy(), other))
    assert first is again is of_other is not None and [image.max() for image in asked] == [0, 1]


def test_a_prior_is_read_once_and_the_warnings_stay_the_same(tmp_path, monkeypatch):
    read = []

    class Counting(Bright):
        def finding_logits(self, images):
            read.append(len(images))
            return super().finding_logits(images)

    review, judges = JudgeReview(tmp_path), Counting()
    monkeypatch.setattr(review, "judges_for", lambda prior: judges)
    samples = np.stack([picture(1.0, patient_side="left"), picture(0.8, patient_side="right")])
    first, again = (review(checked("New left effusion."), samples) for _ in range(2))
    assert read == [1, 3, 3, 3, 3] and first == again
    alone = {text for one in samples for text in warnings("New left effusion.", one)}
    assert {text.rpartition(", in ")[0] for text in first} == alone


def test_a_folder_without_judges_is_said_once(tmp_path, caplog):
    review = JudgeReview(tmp_path)
    assert review(checked("New left effusion."), PRIOR[None]) == review(checked("x"), PRIOR[None]) == ()
    assert caplog.text.count("nobody checks") == 1


def test_the_shipped_judges_know_rendered_patients_and_no_noise(bundle, rendered_chest):
    import cv2

    review = JudgeReview(bundle / "models")
    if not review.judges_for(cv2.resize(rendered_chest, (128, 128), interpolation=cv2.INTER_AREA)):
        pytest.skip("the bundle's judges do not know their domain")
    noise = np.random.default_rng(0).random((128, 128), np.float32)
    assert review.judges_for(noise) is None
