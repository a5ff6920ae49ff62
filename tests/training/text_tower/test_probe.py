import numpy as np
import pytest
import torch

from biomedjourney_monai.training.text_tower.change_sentences import (
    ATTRIBUTE_CLASSES,
    draw_story,
    story_targets,
    tell_story,
)
from biomedjourney_monai.training.text_tower.probe import probe_meaning


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
