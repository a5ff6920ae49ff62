import json
from pathlib import Path

import pytest
import torch

from biomedjourney_monai.networks.text.encoder import TextEncoder

FOLDER = Path(__file__).parents[2] / "bundle" / "models" / "text_tower"
SENTENCE = "New moderate left pleural effusion. Cardiomegaly has resolved. Mild edema is unchanged."


@pytest.fixture(scope="module")
def encoder():
    return TextEncoder.from_folder(FOLDER)


def test_the_folder_is_under_three_megabytes_and_says_how_it_was_made():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 3e6
    assert {"seed", "steps", "images", "figures"} <= set(json.loads((FOLDER / "training.json").read_text()))


def test_geometry_is_that_of_the_demo_model(encoder):
    assert (encoder.width, encoder.context_length) == (128, 128)
    assert encoder.encode([SENTENCE]).shape == (1, 128, 128)


@pytest.mark.parametrize(
    ("word", "other"),
    [("left", "right"), ("moderate", "large"), ("New", "Resolved"), ("resolved", "worsened"), ("Mild", "Severe")],
)
def test_one_word_of_side_severity_or_change_moves_the_states_of_its_neighbours(encoder, word, other):
    states, changed = encoder.encode([SENTENCE, SENTENCE.replace(word, other)])
    moved = (states - changed).norm(dim=-1) / states.norm(dim=-1).clamp_min(1e-6)  # (128,)
    assert int((moved > 0.1).sum()) > 1


def test_a_word_moves_its_own_sentence_more_than_the_others(encoder):
    states, changed = encoder.encode([SENTENCE, SENTENCE.replace("left", "right")])
    moved = (states - changed).norm(dim=-1)
    # [CLS] new moderate left pleural effusion . cardiomegaly has resolved . mild edema is unchanged . [SEP]
    assert moved[1:6].mean() > 2 * moved[7:16].mean()


def test_no_common_word_is_cut_into_letters(encoder):
    ids = encoder._tokenize(SENTENCE)[0]
    assert int((ids != 0).sum()) == len(SENTENCE.replace(".", " .").split()) + 2
    assert torch.equal(ids[0], torch.tensor(2))
