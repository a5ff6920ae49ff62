import string

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedjourney_monai.training.text_tower.change_sentences import draw_story, tell_story
from biomedjourney_monai.training.text_tower.vocabulary import SPECIAL_TOKENS, build_vocabulary


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
