import re
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedjourney_monai.schema import FINDINGS
from biomedjourney_monai.training.text_tower.change_sentences import (
    HAS_SEVERITY,
    NO_SIDE,
    NOT_STATED,
    SIDED,
    SPECIAL_TOKENS,
    STATUSES,
    WORDS,
    FindingChange,
    build_vocabulary,
    draw_story,
    join_parts,
    story_targets,
    tell_in_parts,
    tell_story,
)

QUIET = {finding: FindingChange() for finding in FINDINGS}


def tellings(story, count=80):
    return {tell_story(np.random.default_rng(seed), story).lower() for seed in range(count)}


def test_the_same_seed_tells_the_same_story():
    texts = [tell_story(rng, draw_story(rng)) for rng in (np.random.default_rng(5), np.random.default_rng(5))]
    assert texts[0] == texts[1]


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_stories_are_consistent_and_told_in_clean_sentences(seed):
    rng = np.random.default_rng(seed)
    story = draw_story(rng)
    assert any(change.status != "unmentioned" for change in story.values())
    for finding, change in story.items():
        assert (max(change.left, change.right) > 0) == (change.status in HAS_SEVERITY)
        assert finding in SIDED or change.right == 0
        assert change.right != NO_SIDE or 1 <= change.left <= NOT_STATED
    text = tell_story(rng, story)
    assert text.endswith(".") and text[0].isupper()
    assert not any(scrap in text for scrap in ("<", ">", "{", "}", "|", "  ", " .", ",.", " ,", ".."))


def test_a_story_has_many_tellings_that_all_keep_the_side():
    story = {**QUIET, "Pleural Effusion": FindingChange("new", left=2)}
    texts = tellings(story)
    assert len(texts) > 40
    asides = [aside for aside in WORDS["asides"] if "right" in aside]
    assert asides and all(re.search(r"\b(left|lt|l)\b", text) for text in texts)
    about = [
        next(part for part, subject in tell_in_parts(np.random.default_rng(n), story) if subject == 3)
        for n in range(80)
    ]
    assert not any(re.search(r"\b(right|rt|r)\b", part.lower()) for part in about)


def test_what_is_not_stated_is_not_told():
    told = tellings({**QUIET, "Pneumothorax": FindingChange("new", left=NOT_STATED, right=NO_SIDE)})
    words = {word for text in told for word in re.findall(r"[a-z]+", text.split(".")[0])}
    assert told and not words & {"small", "moderate", "large", "trace", "massive"}


def test_long_texts_are_told_too():
    counts = [len(tell_story(rng, draw_story(rng)).split()) for rng in map(np.random.default_rng, range(900))]
    assert max(counts) > 50 > 3 > min(counts)


@pytest.mark.parametrize("finding", SIDED)
def test_two_sides_of_different_severity_name_both_in_either_order(finding):
    story, place = {**QUIET, finding: FindingChange("present", left=1, right=3)}, FINDINGS.index(finding)
    parts = [tell_in_parts(np.random.default_rng(seed), story) for seed in range(80)]
    texts = [next(text for text, subject in told if subject == place) for told in parts]
    assert all("left" in text and "right" in text for text in texts)
    assert {text.index("left") < text.index("right") for text in texts} == {True, False}


def test_a_resolved_finding_never_has_a_severity():
    words = {"small", "trace", "tiny", "mild", "moderate", "large", "severe", "massive", "marked"}
    for place, finding in enumerate(FINDINGS):
        story = {**QUIET, finding: FindingChange("resolved")}
        for seed in range(80):
            told = [text for text, subject in tell_in_parts(np.random.default_rng(seed), story) if subject == place]
            assert not words & set(" ".join(told).split())


def test_targets_are_status_left_right_for_each_finding():
    story = {**QUIET, "Edema": FindingChange("worse", left=3), "Pneumothorax": FindingChange("new", right=1)}
    targets = story_targets(story).reshape(5, 3)
    assert targets[FINDINGS.index("Edema")].tolist() == [STATUSES.index("worse"), 3, 0]
    assert targets[FINDINGS.index("Pneumothorax")].tolist() == [STATUSES.index("new"), 0, 1]
    assert targets.sum() == STATUSES.index("worse") + 3 + STATUSES.index("new") + 1


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_parts_name_every_mentioned_finding_once_and_join_to_the_text(seed):
    rng = np.random.default_rng(seed)
    story = draw_story(rng)
    parts = tell_in_parts(np.random.default_rng(seed), story)
    assert join_parts(parts) == tell_story(np.random.default_rng(seed), story)
    subjects = sorted(subject for _, subject in parts if 0 <= subject < len(FINDINGS))
    assert subjects == [place for place, name in enumerate(FINDINGS) if story[name].status != "unmentioned"]


def test_findings_with_one_status_often_share_a_sentence():
    story = {**QUIET, "Edema": FindingChange("new", left=1), "Pneumothorax": FindingChange("new", left=3)}
    counts = {text.count(".") for text in tellings(story) if "edema" in text}
    assert counts >= {1, 2}


def test_parts_join_without_space_before_punctuation():
    parts = [
        ("new", -1),
        ("mild edema", 2),
        (", and", -1),
        ("small effusion", 3),
        ("", -1),
        (".", -1),
        ("low volumes", 5),
    ]
    assert join_parts(parts) == "New mild edema, and small effusion. Low volumes"


def test_padding_is_token_0_and_special_tokens_come_first():
    assert tuple(build_vocabulary([])[:5]) == SPECIAL_TOKENS == ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def test_words_of_change_side_and_severity_are_whole_pieces():
    words = (
        "new resolved worsened improved decreased unchanged left right bilateral small moderate large mild severe trace"
    )
    rng = np.random.default_rng(0)
    assert set(words.split()) <= set(build_vocabulary(tell_story(rng, draw_story(rng)) for _ in range(1000)))


def test_no_word_is_a_piece_that_no_text_uses():
    whole = {piece for piece in build_vocabulary(["new effusion"]) if len(piece) > 1 and piece not in SPECIAL_TOKENS}
    assert {piece for piece in whole if not piece.startswith("##")} == {"new", "effusion"}


def test_frequent_words_enter_before_rare_ones_and_the_limit_holds():
    room = len(build_vocabulary([])) + 2
    pieces = build_vocabulary(["zyxa zyxb", "zyxb zyxc", "zyxb zyxc"], limit=room)
    assert len(pieces) == room and pieces[-2:] == ["zyxb", "zyxc"]


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.text(max_size=60), max_size=5))
def test_order_of_the_texts_does_not_matter_and_no_piece_is_double(texts):
    pieces = build_vocabulary(texts)
    assert pieces == build_vocabulary(texts[::-1])
    assert len(set(pieces)) == len(pieces) <= 1500
    assert not any("\n" in piece or piece != piece.strip() for piece in pieces)


@settings(max_examples=60, deadline=None)
@given(text=st.text(string.printable, max_size=60))
def test_no_printable_word_is_unknown(tmp_path_factory, text):
    from transformers import BertTokenizer

    folder = tmp_path_factory.mktemp("vocabulary")
    (folder / "vocab.txt").write_text("\n".join(build_vocabulary([])) + "\n")
    tokenizer = BertTokenizer.from_pretrained(str(folder))
    assert "[UNK]" not in tokenizer.tokenize(text.replace("[UNK]", ""))
