"""Patterns for findings, sides, severities, negation and uncertainty in reports."""

from __future__ import annotations

import re

_HEART = r"(?:heart(?: size)?|cardiac silhouette|cardiac size|cardiomediastinal silhouette|(?:cardiac|heart) contour)"

TERMS: dict[str, str] = {
    "Atelectasis": r"atelecta(?:sis|ses|tic(?: changes?)?)",
    "Cardiomegaly": (
        r"cardiomegaly|(?:cardiac|heart) enlargement|enlargement of (?:\w+ )?(?:heart|cardiac silhouette)"
        rf"|enlarged (?:heart|cardiac silhouette)|borderline heart size|(?:{_HEART})[^.;,]*?\benlarged"
        r"|(?:prominence|enlargement) of the (?:heart|cardiac silhouette)"
        rf"|(?:{_HEART})[^.;,]*?(?:normaliz|within normal limits|\bnormal)|normal {_HEART}"
        rf"|(?:{_HEART})(?:,? (?:and |the )*(?:mediastin\w+|hilar|pulmonary|vascul\w+|silhouettes?|contours?))+,? "
        r"(?:are|is|appear) [^.;,]*normal"
    ),
    "Consolidation": r"consolidations?",
    "Edema": (
        r"(?:(?:interstitial|alveolar|pulmonary|vascular) )*(?:o?edema|vascular (?:congestion|prominence))"
        r"|(?:(?:congestive|acute|overt) )*(?:heart|cardiac) failure|\bchf\b|acute failure"
    ),
    "Lung Opacity": r"(?:opacity|opacities|opacifications?)|air-? ?space (?:disease|abnormalit(?:y|ies))|infiltrates?",
    "Pleural Effusion": r"(?<!pericardial )(?:pleural )?effusions?|pleural fluid(?: collections?)?|hydrothorax",
    "Pneumonia": r"pneumonias?|infections?|infectious process(?:es)?",
    "Pneumothorax": r"(?:hydro)?pneumothora(?:x|ces)|\bptx\b",
}
"""CheXpert label → pattern of its names. The pattern for the heart includes its predicate."""

OTHER_TERMS: dict[str, str] = {
    "Enlarged Cardiomediastinum": (
        r"(?:widen\w*|enlarge\w*|prominen\w*) (?:of the )?(?:superior |upper )?"
        r"mediastin(?:um|al (?:contours?|silhouette))"
        r"|mediastin(?:um|al (?:contours?|silhouette|width|structures))[^.;]*?\b"
        r"(?:widen\w*|enlarged|prominent|(?:with)?in normal limits|normal|unremarkable)"
        r"|(?:normal|unremarkable) mediastin(?:um|al (?:contours?|silhouette))"
    ),
    "Fracture": r"fractur\w+",
    "Lung Lesion": (
        r"nodul(?:es?|ar(?:ity)? (?:\w+ )?(?:densit\w+|opacit\w+|opacification|lesions?))|mass(?:es)?\b|neoplasms?"
        r"|tumou?rs?|carcinomas?|metasta\w+|cavit(?:y|ies|ary lesions?)|lung cancer"
    ),
    "Pleural Other": r"pleural (?:thickening|scar\w*|plaques?|calcifications?)|fibrothorax|apical thickening",
}
"""Four more CheXpert labels, read separately from `TERMS`: in a sentence about heart and mediastinum both patterns
match the same words."""

DEVICE = re.compile(
    r"\b(?:pacemaker|pacer|defibrillator|icd|generator|stimulator|catheter|picc|port-a-cath|mediport|shunt|drain"
    r"|pacing leads?|(?:chest|endotracheal|enteric|nasogastric|orogastric|feeding|tracheostomy|ng|et) tubes?"
    r"|central line|sternotomy|sternal wires|valve replacement|prosthetic valve)s?\b"
)
DEVICE_GONE = re.compile(r"\b(?:remov\w+|no (?:longer|evidence)|without|discontinued)\b")

UNSIDED = ("Cardiomegaly", "Edema", "Pneumonia")

DEVICES: dict[str, str] = {
    "endotracheal tube": r"endotracheal tube|\bet tube|\bett\b",
    "pacemaker": r"pacemaker|\bpacer\b|pacing (?:device|leads)",
    "sternotomy wires": r"sternotomy|sternal wires",
    "chest tube": r"chest tube|pigtail catheter|pleural drain",
    "enteric tube": r"(?:enteric|nasogastric|orogastric|\bng|dobb?hoff|feeding) tube",
    "central venous catheter": (
        r"central venous catheter|central line|\bpicc\b|port-a-cath|\b(?:ij|subclavian) (?:line|catheter)"
    ),
}

SEVERITY_WORDS = {
    1: (
        r"mild(?:ly)?|minimal(?:ly)?|minor|small(?:er)?|trace|tiny|slight(?:ly)?|subtle|subsegmental|linear|faint"
        r"|thin|streaky"
    ),
    2: r"moderate(?:ly)?[ -]sized|medium[ -]sized|moderate(?:ly)?",
    3: (
        r"(?:very )?large|severe(?:ly)?|marked(?:ly)?|extensive|massive(?:ly)?|substantial"
        r"|gross(?:ly)?(?! (?:stable|unchanged|clear|normal|unremarkable|within))|florid"
    ),
}
SEVERITY = re.compile("|".join(rf"(?P<s{level}>\b(?:{words})\b(?!r))" for level, words in SEVERITY_WORDS.items()))
SEVERITY_RANGE = re.compile(
    r"\b(?:mild|minimal|small|trace|moderate)(?:ly)?[ -](?:to[ -])(?=(?:small|mild|moderate|large|severe))"
)
"""The lower end of "mild to moderate", of which the upper end counts."""

SIDE = re.compile(
    r"(?P<both>\b(?:bilateral(?:ly)?|both|bibasilar|bibasal|biapical"
    r"|left (?:greater|worse) than right|right (?:greater|worse) than left)\b)"
    r"|(?P<left>\bleft\b|\bleft-)|(?P<right>\bright\b|\bright-)"
)

CLEAR = re.compile(
    r"\b(?:(?:is|are|remain|now|lungs) clear|clear (?:lungs|chest)|(?:normal|unremarkable|negative) chest"
    r"|no (?:evidence of )?(?:acute|active))\b"
)
"""A chest that is called clear has none of the findings that the report does not mention."""

NEGATED_BEFORE = re.compile(
    r"\b(?:no(?! (?:significant |substantial |appreciable |interval |relevant )*change)(?! longer)|without|negative for"
    r"|free of|clear of|absence of|resolution of|clearing of|resolved|resolving of|ruled out|no longer)\b"
)
DENIAL_STARTS = re.compile(r"\b(?:no(?! (?:\w+ )?change)(?! longer)|without|negative for)\b")
NEGATED_AFTER = re.compile(
    r"\b(?:(?:has|have)(?: completely| nearly| now)? (?:resolved|cleared)"
    r"|(?:is|are) (?:now )?(?:resolved|cleared|absent)"
    r"|no longer|(?:has|have) (?:returned to normal|normalized)|not (?:seen|present|identified)(?! on| in the prior))\b"
)
NEGATED_WITHIN = re.compile(r"normal|unremarkable|not enlarged|no longer|not .*(?:enlarged|widened)")
UNCERTAIN = re.compile(
    r"\b(?:possibl[ey]|questionable|question of|suspected|suspicious|may|might|could|probable|borderline"
    r"|(?<!newly )apparent"
    r"|(?:cannot|can not|difficult to|not) (?:be )?(?:exclude|excluded|rule out|ruled out)|not excluded"
    r"|versus|vs|differential)\b"
    r"|\b(?:scar\w*|fibrosis|thickening|infiltrate)(?: and/or | or |/)"
    r"|(?: and/or | or |/)(?:\w+ )?(?:scar\w*|fibrosis)\b"
)
DOUBT_OF_A_CAUSE = re.compile(
    r"\b(?:(?:may|might|could|can) (?:also )?(?:be|represent|reflect|indicate|suggest)\b|possibly|differential"
    r"|probabl[ey] represent\w*)"
)
"""Applies to everything after it in the sentence: "opacity, possibly scarring, edema or pneumonia"."""

DOUBT_OF_THE_NEXT = re.compile(r"(?:\bwith|\band|,) (?:an? )?(?:possible|probable|questionable|suspected)\b.*")
"""After a finding: uncertainty of something else, "cardiomegaly with possible pericardial effusion"."""

WORSE = re.compile(r"\b(?:worse|worsen\w*|increas\w*|progress\w*|enlarging|larger|more pronounced|greater)\b")
BETTER = re.compile(r"\b(?:better|improv\w*|decreas\w*|diminish\w*|smaller|less pronounced|regress\w*|resolving)\b")
SAME = re.compile(
    r"\b(?:unchanged|stable|similar|persist\w*|again|redemonstrat\w*|as before|no (?:\w+ ){0,2}change|not significantly"
    r" changed|remain\w*)\b"
)
LIST_WORDS = re.compile(
    r"[ ,]*(?:(?:or|nor)\b.*|(?:and )?"
    r"(?:(?:evidence|of|overt|acute|focal|lobar|definite|any|new|other|interstitial|airspace|air space) )*)"
)
"""Words between the findings of one denied list."""

LIST_CLOSES = re.compile(r",? (?:or|nor)\b")
"""Before a finding: "no consolidation, suspicious opacity, large effusion, or pneumothorax" is one denied list."""

GONE_BEFORE = re.compile(r"\b(?:resolution of|clearing of|resolved)\b")
GONE_LIST_WORDS = re.compile(
    r"[ ,]*(?:and )?(?:(?:the|left|right|bilateral|left-sided|right-sided|small|moderate|large|mild|severe|basilar"
    r"|basal|bibasilar|lower|lobe|lung|pulmonary) )*"
)
"""Words between the findings of one list of resolved findings."""

GONE_PLURAL = re.compile(
    r"^(?: seen| noted)?[\w ]*\b(?:have (?:\w+ )?(?:resolved|cleared)|are (?:no longer|resolved))\b"
)
"""After a list: applies to all its members."""

SEPARATOR = re.compile(
    r",| and |(?<!scarring) or |(?<!compatible)(?<!consistent) with | as well as | along with | but | plus "
)
