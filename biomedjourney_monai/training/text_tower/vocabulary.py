"""The word pieces of the small text tower: words of its texts, common words of radiology, and single characters."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""BERT's, in BERT's order: padding is 0."""

_SUFFIXES = "s es ed ing ly al ar ic ous tic ation tion ion ment ent ity ness er est ive ary ory sis ses"

_RADIOLOGY_WORDS = """
    new newly developed appeared appearance development interval since prior previous previously compared comparison now
    again still persistent residual remains remained unchanged stable similar change changed changes no not none without
    resolved resolution cleared clearing gone absent removed worse worsened worsening increased increasing increase
    progressed progressive progression larger enlarged enlargement more improved improving improvement decreased
    decreasing decrease smaller diminished less better partial partially complete completely near interim slightly
    left right bilateral both sided side sides unilateral lower upper mid middle lobe lobes lung lungs base bases basal
    basilar bibasilar apex apical hilar perihilar hilum central peripheral medial lateral anterior posterior diffuse
    focal patchy multifocal small tiny trace minimal minor mild mildly moderate moderately severe severely marked
    markedly large massive extensive substantial significant slight subtle very size sized normal borderline top limits
    within pleural effusion effusions fluid pneumothorax pneumothoraces atelectasis atelectatic collapse volume loss
    cardiomegaly heart cardiac silhouette cardiomediastinal mediastinum mediastinal contour contours aorta aortic edema
    pulmonary vascular congestion interstitial alveolar overt consolidation consolidations opacity opacities
    opacification pneumonia infection aspiration infiltrate lesion nodule nodules mass masses granuloma fracture
    fractures rib ribs clavicle spine degenerative scoliosis thickening plaque scarring fibrosis emphysema copd
    hyperinflated hyperinflation inflation volumes low expanded clear silhouetting costophrenic angle angles blunting
    hemidiaphragm diaphragm elevation elevated device devices support pacemaker lead leads wires sternotomy clips tube
    endotracheal tracheostomy nasogastric enteric catheter line port picc central venous jugular subclavian drain chest
    tip terminates position placement placed standard acute process disease abnormality abnormalities cardiopulmonary
    evidence definite likely possible possibly probable probably may represent reflect suspected questionable question
    cannot excluded exclude uncertain is are was were has have had been be being there this that the a an of on in at to
    with and or but by for from as than which it its please note noted seen identified present shown demonstrated
    visualized finding findings impression history indication technique views view frontal pa ap portable upright supine
    radiograph radiographs film study studies exam examination image images patient year old man woman male female
    unremarkable consistent compatible appears appear otherwise also however likely due secondary setting follow up
    recommended clinical correlation day days week weeks month months one two three first second third
"""


def build_vocabulary(texts: Iterable[str], *, limit: int = 1500) -> list[str]:
    """Choose the word pieces, in a fixed order, so that equal texts give equal vocabularies.

    Every printable ASCII character is a piece, so no ASCII word is unknown. Suffixes, words of radiology, and the most
    frequent words of `texts` follow, up to the limit.

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
    pieces += [f"##{suffix}" for suffix in _SUFFIXES.split()]
    pieces += _RADIOLOGY_WORDS.split()
    pieces += sorted((word for word in counts if word.isascii()), key=lambda word: (-counts[word], word))
    return list(dict.fromkeys(pieces))[:limit]
