"""Write a report in the words that the reader knows: abbreviations, typing errors, degrees of change, languages.

The functions for sentences take and return lower-case text.
"""

import re
from functools import lru_cache

_ADJECTIVES = {
    "mod": "moderate", "sm": "small", "lg": "large", "incr": "increased", "decr": "decreased", "pulm": "pulmonary",
    "vasc": "vascular", "pl": "pleural", "bilat": "bilateral", "b/l": "bilateral", "bibas": "bibasilar", "lt": "left",
    "rt": "right", "dev": "development", "vs": "versus", "interst": "interstitial", "approx": "approximately",
    "l": "left", "r": "right",
}  # fmt: skip
"""Abbreviations before a noun: their full stop does not end a sentence."""

_ABBREVIATIONS = _ADJECTIVES | {
    "ptx": "pneumothorax", "pneumo": "pneumothorax", "eff": "effusion", "effs": "effusions", "atx": "atelectasis",
    "atelect": "atelectasis", "pna": "pneumonia", "ctr": "cardiothoracic ratio", "c/t ratio": "cardiothoracic ratio",
    "ct ratio": "cardiothoracic ratio", "w/o": "without", "w/": "with", "r/o": "rule out", "s/p": "status post",
    "cp angle": "costophrenic angle", "cp angles": "costophrenic angles", "cxr": "radiograph", "resol": "resolution",
    "rll": "right lower lobe", "rml": "right middle lobe", "rul": "right upper lobe", "lll": "left lower lobe",
    "lul": "left upper lobe", "abnl": "abnormal", "nl": "normal", "lv": "left ventricle",
}  # fmt: skip


def _any(words: dict[str, str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_AFTER_ADJECTIVES = "|".join(rf"(?<=(?<![\w/.]){re.escape(word)}.)" for word in _ADJECTIVES)
_DOTTED = re.compile(rf"\.(?=\s+[a-z])(?:{_AFTER_ADJECTIVES})")
_SHORT = re.compile(rf"(?<![\w/.'])(?<!\d )(?:{_any(_ABBREVIATIONS)})(?![\w/'])(?!\.\w)")

_NAMES = (
    *("atelectasis", "atelectases", "atelectatic", "bibasilar", "bilateral", "cardiomegaly", "cardiothoracic"),
    *("consolidation", "consolidations", "costophrenic", "edema", "effusion", "effusions", "moderate", "pleural"),
    *("pneumonia", "pneumothoraces", "pneumothorax", "pulmonary", "right"),
)
_OTHER_WORDS = frozenset(("pleura", "pneumonic", "pneumonias", "rights", "oedema", "edemas"))

_SIDE = "(?:left|right)"
_PARTLY = r"(?:partial(?:ly)?|incomplete(?:ly)?|near(?:ly)?|almost|mostly|largely)"
_COMPARED = ">", "greater", "larger", "more", "worse"
_PART = "part", "incompl", "near", "almost", "mostly", "largely"
_PHRASES = tuple(
    (literals, re.compile(pattern, re.ASCII), words)
    for literals, pattern, words in (
        (("c/w",), r"\bc/w (?=(?:the )?(?:prior|previous|last|study|earlier))", "compared with "),
        (("c/w",), r"\bc/w\b", "consistent with"),
        (_COMPARED, rf"\b(?:{_SIDE})(?: side)?,? ?(?:is )?(?:>|(?:greater|larger|more|worse|more pronounced)(?: than)?)"
         rf" (?:the )?{_SIDE}\b", "bilateral"),
        (("than",), rf"\b(?:larger|greater|more) {_SIDE} than {_SIDE}\b", "bilateral"),
        (_COMPARED, rf"(?P<rest>\b(?:bi\w+|both)\b[^.;]*?),? (?:worse|greater|larger|more) (?:on|at) the {_SIDE}\b",
         r"\g<rest>"),
        (_PART, rf"\b{_PARTLY}[ -]?(?:complete(?:ly)?|total)? (?:interval )?(?:resolution|clearing|re-?expansion) of",
         "improvement in residual"),
        (_PART, rf"\b{_PARTLY}[ -](?:complete(?:ly)? )?(?:resolved|cleared|drained|re-?expanded)\b", "improved"),
        ((" not ",), r"\b(?:has|have|is|are) not (?:yet )?(?:completely )?(?:resolved|cleared)\b", "persists"),
        (("no ",), r"\bno (?:\w+ ){0,2}(?:improvement|increase|decrease|worsening|progression|enlargement)"
         r" (?:of|in)\b", "no change in"),
        (("increase", "decrease", "improvement", "worsening", "progression"),
         r"\b(?:slight|mild|minimal|moderate)(?:ly)? (?=(?:interval )?"
         r"(?:increase|decrease|improvement|worsening|progression)\b)", ""),
        (("ly ",), r"\b(?:slightly|mildly|minimally|moderately) (?=(?:increased|decreased|improved|worse|worsened"
         r"|larger|smaller|progressed|bigger)\b)", ""),
        (("previously",), r",? ?previously (?:small|tiny|mild|moderate|large|severe),?", ""),
        (("expan",), r"\bre-?expansion of (?:the )?((?:left |right |middle |lower |upper )*)(?:lobe|lung)\b",
         r"resolution of \1lobe atelectasis"),
        (("expan",), r"\b(?<!partially )re-?expanded\b", "resolved"),
        (("what if",), "^possible what if ", ""),
        (("essentially",), r"\bessentially (?=(?:resolved|cleared)\b)", ""),
    )
)  # fmt: skip
"""Literals of which a sentence must hold one, since that is fast to see; pattern; and what it becomes."""
_LITERAL = re.compile("|".join(re.escape(literal) for literals, _, _ in _PHRASES for literal in literals))

_ENGLISH = frozenset(
    "the a an is are was were of with and or no not in on at to has have there this since from for new left right"
    " both without than be as by small moderate large mild severe normal clear".split()
)
_FOREIGN = frozenset(
    "el la los las del de sin con y por una izquierdo izquierda derecho derecha derrame pequeño pequeña kein keine"
    " keinen und der die das mit ohne links rechts nicht ist kleiner pas et du les une sans gauche droit"
    " droite épanchement modérée il lo gli di senza sinistro destro versamento não sem esquerdo direito"
    " ingen inget och geen het een zonder rechter linker niet".split()
)
_WORDS = re.compile(r"[^\W\d_]+")


def is_foreign(text: str) -> bool:
    """Whether a text has more common words of another language than of English."""
    lines = text.split("\n")
    return any(map(_names_foreign, lines)) and sum(map(_count_foreign, lines)) > 0


@lru_cache(maxsize=32768)
def _names_foreign(line: str) -> bool:
    return not _FOREIGN.isdisjoint(_WORDS.findall(line.lower()))


def _count_foreign(line: str) -> int:
    """Common words of other languages less those of English."""
    found = _WORDS.findall(line.lower())
    return sum(word in _FOREIGN for word in found) - sum(word in _ENGLISH for word in found)


def join_abbreviations(text: str) -> str:
    """Remove the full stops that do not end a sentence, and write lower case.

    Example:
        >>> join_abbreviations("New L pl. eff, mod.")
        'new l pl eff, mod.'
    """
    return _DOTTED.sub("", text.lower())


def expand_abbreviations(sentence: str) -> str:
    """Write abbreviations out.

    Example:
        >>> expand_abbreviations("new l pl eff, mod.")
        'new left pleural effusion, moderate.'
    """
    return _SHORT.sub(lambda match: _ABBREVIATIONS[match[0]], sentence)


@lru_cache(maxsize=65536)
def plain_words(sentence: str) -> str:
    """Correct typing errors in the names of findings, and write degrees of change in the reader's words.

    Example:
        >>> plain_words("near-complete resolution of right plueral effusion")
        'improvement in residual right pleural effusion'
    """
    sentence = _WORDS.sub(lambda match: _corrected(match[0]), sentence)
    for literals, pattern, words in _PHRASES if _LITERAL.search(sentence) else ():
        if any(literal in sentence for literal in literals):
            sentence = pattern.sub(words, sentence)
    return sentence


@lru_cache(maxsize=65536)
def _corrected(word: str) -> str:
    """The name that a word differs from by one letter, or by two letters that changed places; else the word."""
    if len(word) < 4 or word in _NAMES or word in _OTHER_WORDS:
        return word
    return next((name for name in _NAMES if word[0] == name[0] and _is_one_error(word, name)), word)


def _is_one_error(word: str, name: str) -> bool:
    if abs(len(word) - len(name)) > 1:
        return False
    start = next((n for n, (one, two) in enumerate(zip(word, name)) if one != two), min(len(word), len(name)))
    ahead, behind = word[start:], name[start:]
    if len(word) == len(name):
        return ahead[1:] == behind[1:] or (ahead[1::-1] == behind[:2] and ahead[2:] == behind[2:])
    return ahead[1:] == behind if len(word) > len(name) else ahead == behind[1:]
