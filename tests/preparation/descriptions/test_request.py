import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.clinic.web.page import all_suggestions
from biomedjourney_monai.preparation.descriptions.progression import CLEAR_FRAMES
from biomedjourney_monai.preparation.descriptions.request import NO_CHANGE, is_canonical, read_request


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("New L pl eff, moderate.", "New moderate left pleural effusion."),
        ("Heart size has increased", "Cardiomegaly has increased and is now severe."),
        ("left apical PTX has enlarged", "The left pneumothorax has increased and is now large."),
        ("basilar atelectatic changes on the right", "New moderate right atelectasis."),
        ("Patient now has pulmonary edema.", "New moderate pulmonary edema."),
        ("B/L effs, small, new.", "New small bilateral pleural effusions."),
        ("Kerley B lines, new. No PTX.", "New moderate pulmonary edema. No pneumothorax."),
        ("Heart is no longer enlarged.", "Cardiomegaly has resolved."),
        ("1. Small L ptx, new. 2. Unchanged R PICC line.", "New small left pneumothorax."),
        ("Question of a small right effusion.", "Possible small right pleural effusion."),
        ("? left effusion", "Possible left pleural effusion."),
        ("Effusion tapped, resolved", "The pleural effusion has resolved."),
        (
            "Remove the effusion and the pneumothorax.",
            "The pleural effusion has resolved. The pneumothorax has resolved.",
        ),
        ("Take the left effusion away.", "The left pleural effusion has resolved."),
        ("Get rid of the edema", "Pulmonary edema has resolved."),
        ("The pneumothorax should be gone", "The pneumothorax has resolved."),
        ("Right effusion has been drained", "The right pleural effusion has resolved."),
        ("Heart back to normal size", "Cardiomegaly has resolved."),
        ("Interval increase in size of the cardiac silhouette", "Cardiomegaly has increased and is now severe."),
        ("What if the edema resolves?", "Pulmonary edema has resolved."),
        ("What if a large left pneumothorax develops?", "New large left pneumothorax."),
        ("Small right pneumothorax after chest tube removal", "New small right pneumothorax."),
        ("Fluid has re-accumulated on the right, now moderate", "New moderate right pleural effusion."),
        ("Air in pleural space on left, moderate", "New moderate left pneumothorax."),
        ("Enlarging heart", "Cardiomegaly has increased and is now severe."),
    ],
)
def test_a_request_is_written_in_the_words_of_the_training(text, prompt):
    assert read_request(text).prompt == prompt


@pytest.mark.parametrize(
    "text",
    [
        *(suggestion.sentence for suggestion in all_suggestions()),
        *CLEAR_FRAMES,
        "New right pneumothorax.",
        "There is now a moderate left pleural effusion. Mild cardiomegaly is unchanged.",
        "new mild pulmonary edema",
        "No pleural effusion or pneumothorax.",
    ],
)
def test_a_description_in_those_words_passes_unchanged(text):
    assert is_canonical(text) and read_request(text).prompt == text


def test_what_was_written_is_read_in_the_same_way():
    for suggestion in all_suggestions():
        read = read_request(suggestion.sentence)
        (change,) = read.changes
        assert change.label == suggestion.finding and not read.left_out
        assert set(change.severities) == {"bilateral": {"left", "right"}}.get(suggestion.side, {suggestion.side})


def test_the_line_says_what_was_understood_and_what_was_not():
    read = read_request("New L pl eff, moderate. Nodule in the right upper lobe.")
    assert read.line == (
        "understood: new, left, moderate pleural effusion; not understood: 'nodule in the right upper lobe'"
    )
    assert read.undrawable == ("nodule",)
    assert "moderate (by default)" in read_request("L PTX, new").line


@pytest.mark.parametrize("text", ["New rib fracture on the left.", "Mass in the left hilum.", "Right PICC line."])
def test_what_cannot_be_drawn_is_reported_and_draws_nothing(text):
    read = read_request(text)
    assert read.undrawable and read.prompt == NO_CHANGE and not read.changes


@pytest.mark.parametrize("text", ["asdf", "Kein Pneumothorax."])
def test_where_nothing_is_understood_the_text_stays(text):
    assert read_request(text).prompt == text


def test_a_request_is_read_in_five_milliseconds():
    texts = [f"Interval increase in the L-sided pleural eff, now {size}; nodule." for size in ("small", "mod", "large")]
    started = time.process_time()
    for _ in range(20):
        for text in texts:
            read_request.__wrapped__(text)
    assert (time.process_time() - started) / 60 < 0.005


@given(st.text(max_size=200))
def test_any_text_is_read(text):
    assert isinstance(read_request(text).line, str)


def test_the_view_of_the_film_is_kept():
    assert read_request("New pleural effusion. AP view.").prompt == "New pleural effusion. AP view."
    rewritten = read_request("L PTX has enlarged. AP film.")
    assert rewritten.prompt == "The left pneumothorax has increased and is now large. AP view."
    assert rewritten.left_out == ()


@pytest.mark.parametrize(
    "sentence",
    [
        "No interval change.",
        "Nothing new.",
        "No new abnormality compared with the previous film.",
        "Heart and lungs look the same as before.",
        "Stable. AP view.",
    ],
)
def test_that_nothing_changed_is_written_in_one_way(sentence):
    read = read_request(sentence)
    assert read.prompt == NO_CHANGE
    assert read.line == "understood: nothing changes"


@pytest.mark.parametrize("sentence", ["No new effusion.", "The lungs are clear.", "Stable cardiomegaly.", "New pain."])
def test_other_sentences_are_not_taken_for_no_change(sentence):
    assert read_request(sentence).prompt != NO_CHANGE
