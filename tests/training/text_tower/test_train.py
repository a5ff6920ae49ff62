import numpy as np
import pytest
import torch

from biomedjourney_monai.training.text_tower.change_sentences import (
    ATTRIBUTE_CLASSES,
    draw_story,
    story_targets,
    tell_story,
)
from biomedjourney_monai.training.text_tower.train import draw_descriptions, probe_meaning, reported_texts


def test_drawn_descriptions_are_those_of_the_rule_based_writer():
    texts = draw_descriptions(np.random.default_rng(0), 200)
    assert len(set(texts)) > 150 and texts == draw_descriptions(np.random.default_rng(0), 200)
    assert all(word in " ".join(texts) for word in ("left pleural effusion", "moderate", "has resolved"))
    assert all(text.endswith(".") for text in texts)


def test_impression_comes_first_then_findings_without_the_rest():
    report = (
        "                 FINAL REPORT\n EXAMINATION:  CHEST (PA)\n \n HISTORY:  ___ with fever.\n \n"
        " FINDINGS:  Heart size is normal.\n There is a\n small effusion.\n \n IMPRESSION: \n \n 1. Small effusion.\n"
    )
    assert reported_texts(report) == ["1. Small effusion.", "Heart size is normal. There is a small effusion."]


def test_a_conclusion_and_a_combined_section_count():
    assert reported_texts(" CONCLUSION:  Edema.\n") == ["Edema."]
    assert reported_texts(" HISTORY: x\n\n FINDINGS AND IMPRESSION:  Clear lungs.\n") == ["Clear lungs."]


def test_without_headings_the_last_paragraph_counts():
    assert reported_texts(" FINAL REPORT\n \n Chest PA.\n \n No effusion.\n Clear lungs.") == [
        "No effusion. Clear lungs."
    ]


@pytest.mark.parametrize("report", ["x", " IMPRESSION:\n", ":", "A:B"])
def test_every_report_that_is_not_blank_has_a_text(report):
    assert all(reported_texts(report))


class Oracle:
    """States that hold each sentence's meaning in plain numbers."""

    width, context_length = sum(ATTRIBUTE_CLASSES), 4

    def __init__(self, seed: int, texts: int) -> None:
        rng = np.random.default_rng([seed, 0x70726F6265])
        stories = [draw_story(rng) for _ in range(texts)]
        self.meaning = {tell_story(rng, story): story_targets(story) for story in stories}

    def encode(self, texts):
        states = torch.zeros(len(texts), self.context_length, self.width)
        for row, text in enumerate(texts):
            hot = [torch.eye(size)[int(n)] for n, size in zip(self.meaning[text], ATTRIBUTE_CLASSES)]
            states[row, 0] = torch.cat(hot)
        return states


class Deaf(Oracle):
    """States that are the same for every text."""

    def encode(self, texts):
        return torch.ones(len(texts), self.context_length, self.width)


def test_probes_read_what_the_states_hold():
    scores = probe_meaning(Oracle(1, 900), seed=1, texts=900, steps=300)
    assert scores["mean_change"] > 0.97 and scores["mean_severity"] > 0.97 and scores["mean_side"] > 0.97
    assert scores["attention_side"] > 0.8


def test_probes_read_nothing_from_states_that_hold_nothing():
    scores = probe_meaning(Deaf(1, 300), seed=1, texts=300, steps=50)
    assert scores["mean_change"] < 0.4 and scores["mean_severity"] < 0.4 and scores["attention_change"] < 0.4


def test_the_same_seed_gives_the_same_scores():
    first, second = (probe_meaning(Oracle(2, 90), seed=2, texts=90, steps=10) for _ in range(2))
    assert first == pytest.approx(second, abs=0)
