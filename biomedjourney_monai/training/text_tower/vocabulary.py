"""The word pieces of the small text tower: words of its texts, suffixes, and single characters."""

import string
from collections import Counter
from collections.abc import Iterable

from biomedjourney_monai.training.text_tower.change_sentences import WORDS

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""BERT's, in BERT's order: padding is 0."""


def build_vocabulary(texts: Iterable[str], *, limit: int = 1500) -> list[str]:
    """Choose the word pieces, in a fixed order, so that equal texts give equal vocabularies.

    Every printable ASCII character is a piece, so no ASCII word is unknown. Suffixes and the most frequent words of
    `texts` follow, up to the limit: no word whose meaning no text teaches.

    Args:
        texts: that the tower is trained on.
        limit: largest number of pieces.

    Returns:
        The pieces, special tokens first; the index is the token id.
    """
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    normalizer, splitter = BertNormalizer(lowercase=True), BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    characters = string.ascii_lowercase + string.digits
    pieces = [*SPECIAL_TOKENS, *characters, *string.punctuation, *(f"##{character}" for character in characters)]
    pieces += [f"##{suffix}" for suffix in WORDS["suffixes"].split()]
    pieces += sorted((word for word in counts if word.isascii()), key=lambda word: (-counts[word], word))
    return list(dict.fromkeys(pieces))[:limit]
