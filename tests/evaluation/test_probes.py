from dataclasses import replace

import numpy as np
import pytest
import torch

from biomedjourney_monai.evaluation.judges.scores import JudgeScores
from biomedjourney_monai.evaluation.probes import (
    UNCHANGED,
    choose_probe,
    run_probes,
    summarise_probes,
)
from biomedjourney_monai.schema import FINDINGS

SIZE = 128
HEALTHY = {f"prior_{finding}": 0.0 for finding in FINDINGS}
GREY = {"small": 0.1, "mild": 0.1, "moderate": 0.2, "large": 0.3, "severe": 0.3}


class SeesBrightness:
    """A judge for whom every finding is brightness."""

    def score(self, images):
        seen = images.mean(dim=(1, 2, 3))[:, None].expand(-1, 5)
        structures = torch.zeros((len(images), 6, *images.shape[-2:]), dtype=torch.bool)
        structures[:, :3, 40:80, 40:80] = True  # both lungs and the heart
        return JudgeScores(seen, torch.zeros(len(images), 3), torch.zeros(len(images)), structures)


class Brightens:
    """A model that adds what the severity word says, takes 0.2 away where something resolved, and drifts a little."""

    def __init__(self, *, drift=0.01, forgets_severity=False):
        self.drift, self.forgets_severity, self.seen = drift, forgets_severity, []

    def __call__(self, images, descriptions, seeds):
        self.seen += list(descriptions)
        made = images.clone()
        for n, text in enumerate(descriptions):
            word = next((word for word in GREY if word in text), None)
            if "resolved" in text:
                made[n] -= 0.2
            elif word:
                made[n] += 0.2 if self.forgets_severity else GREY[word]
            else:
                made[n] += self.drift
        return made


def _run(model, rows=2, **more):
    images = torch.full((rows, 1, SIZE, SIZE), 0.4)
    texts = ["New edema."] * rows
    table = run_probes(images, [HEALTHY] * rows, texts, model, SeesBrightness(), **more)
    return {name: column.to_numpy() for name, column in table.items()}


def test_a_model_that_obeys_has_the_numbers_worked_by_hand():
    found = _run(Brightens())
    assert found["composition_drift after 3"] == pytest.approx([0.03, 0.03], abs=1e-6)
    assert found["composition_drift overall"] == pytest.approx([0.01, 0.01], abs=1e-6)
    assert found["ladder_judge overall"].tolist() == [1, 1]
    assert found["ladder_change overall"].tolist() == [1, 1]
    assert found["ladder_change_at overall"].tolist() == [1, 1]
    assert found["reversibility_error overall"] == pytest.approx([0, 0], abs=1e-6)
    assert found["reversibility_recovered overall"].tolist() == [1, 1]  # 0.6, then 0.4
    assert found["diversity_ms_ssim overall"] == pytest.approx([1, 1], abs=1e-5)  # every seed gives the same


def test_a_sentence_without_change_is_followed_with_and_without_keep_unchanged():
    model, free = Brightens(drift=0.2), Brightens(drift=-0.1)
    found = _run(model, rows=3, freely=free)
    assert found["no_change_drift overall"] == pytest.approx([0.2] * 3, abs=1e-6)
    assert found["no_change_drift redrawn"] == pytest.approx([0.1] * 3, abs=1e-6)
    assert np.isnan(found["no_change_findings overall"]).all(), "the judge saw none"
    assert free.seen == list(UNCHANGED[:3])
    images, loses = torch.full((1, 1, SIZE, SIZE), 0.6), Brightens(drift=-0.2)
    table = run_probes(images, [HEALTHY], ["New edema."], loses, SeesBrightness())
    assert table["no_change_findings overall"].tolist() == [0]


def test_what_is_not_undone_is_named_by_its_finding():
    class KeepsEdema(Brightens):
        def __call__(self, images, descriptions, seeds):
            made = super().__call__(images, descriptions, seeds)
            for n, text in enumerate(descriptions):
                if "edema has resolved" in text:
                    made[n] = images[n]
            return made

    images = torch.full((5, 1, SIZE, SIZE), 0.4)
    values = run_probes(images, [HEALTHY] * 5, ["New edema."] * 5, KeepsEdema(), SeesBrightness())
    recovered = summarise_probes(values, weights=np.ones((3, 5)))["reversibility_recovered"]
    rates = {part: (statistic.values[0], statistic.count) for part, statistic in recovered.items()}
    assert rates == {"overall": (0.8, 5)} | {finding: (float(finding != "Edema"), 1) for finding in FINDINGS}


def test_a_model_that_forgets_the_severity_has_no_ladder():
    found = _run(Brightens(forgets_severity=True))
    assert found["ladder_judge overall"].tolist() == [0, 0]
    assert found["ladder_change overall"].tolist() == [0, 0]
    assert found["ladder_change_at overall"].tolist() == [0, 0]


def test_what_changes_far_from_the_finding_breaks_only_the_ladder_of_the_whole_picture():
    class FlickersInACorner(Brightens):
        def __call__(self, images, descriptions, seeds):
            made = super().__call__(images, descriptions, seeds)
            for n, text in enumerate(descriptions):
                if any(word in text for word in ("small", "mild")):
                    made[n, :, :30, :30] += 5.0
            return made

    found = _run(FlickersInACorner())
    assert found["ladder_change overall"].tolist() == [0, 0]
    assert found["ladder_change_at overall"].tolist() == [1, 1]


def test_where_no_anatomy_is_seen_there_is_no_ladder_in_place():
    class SeesNoAnatomy(SeesBrightness):
        def score(self, images):
            scores = super().score(images)
            return replace(scores, structures=torch.zeros_like(scores.structures))

    images = torch.full((1, 1, SIZE, SIZE), 0.4)
    values = run_probes(images, [HEALTHY], ["New edema."], Brightens(), SeesNoAnatomy())
    summary = summarise_probes(values, weights=np.ones((3, 1)))
    assert summary["ladder_change_at"]["overall"].note.startswith("no anatomy was seen")
    assert summary["ladder_change"]["overall"].values[0] == 1


def test_findings_take_turns_and_sides_too():
    model = Brightens()
    _run(model, rows=5)
    ladders = [text for text in model.seen if "New moderate" in text]
    assert ladders == [
        "New moderate left atelectasis.",
        "New moderate cardiomegaly.",
        "New moderate pulmonary edema.",
        "New moderate right pleural effusion.",
        "New moderate left pneumothorax.",
    ]
    assert "The right pleural effusion has resolved." in model.seen


def test_only_what_the_prior_does_not_show_is_asked_for():
    labels = {**dict.fromkeys(FINDINGS, 1.0), "Edema": np.nan}
    assert choose_probe(labels, turn=0).finding == "Edema"
    assert choose_probe(dict.fromkeys(FINDINGS, 1.0), turn=3) is None
    assert choose_probe({**labels, "Edema": -1.0}, turn=0) is None


def test_where_nothing_can_be_asked_for_the_reason_is_given():
    rows = [dict.fromkeys(HEALTHY, 1.0)] * 2
    images = torch.full((2, 1, 64, 64), 0.4)
    values = run_probes(images, rows, ["x", "y"], Brightens(), SeesBrightness())
    summary = summarise_probes(values, weights=np.ones((3, 2)))
    ladder, diversity = summary["ladder_judge"]["overall"], summary["diversity_ms_ssim"]["overall"]
    assert np.isnan(ladder.values).all()
    assert ladder.note == "every prior shows all findings"
    assert diversity.note == "images under 112 pixels"
    assert summary["composition_drift"]["after 2"].values[0] == pytest.approx(0.02, abs=1e-6)
    assert summary["composition_drift"]["after 2"].count == 2


def test_one_sample_has_no_diversity():
    with pytest.raises(ValueError, match="samples must be >= 2"):
        _run(Brightens(), samples=1)
