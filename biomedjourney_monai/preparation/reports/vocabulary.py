"""Patterns for findings, sides, severities, negation and uncertainty in reports."""

import re
from functools import partial

_compile = partial(re.compile, flags=re.ASCII)
"""In ASCII the boundaries of words are faster to find; the terms of English reports are all in it."""

_HEART = r"(?:heart(?: size)?|cardiac silhouette|cardiac size|cardiomediastinal silhouette|(?:cardiac|heart) contour)"

_GROWN = r"(?:increased|enlarged|widened|dilated|prominent|grown|larger|bigger|decreased|smaller)"
_IS = r"(?:(?:has|have|is|are|was|now|again|been|appears?|remains?|slightly|mildly|moderately|markedly|severely) )*"

TERMS: dict[str, str] = {
    "Atelectasis": (
        r"atelecta(?:sis|ses|tic(?: changes?)?)|volume loss|loss of volume|lob(?:e|ar) collapse"
        r"|collapse of the (?:\w+ )*lobe|crowding of (?:the )?(?:bronchovascular|vascular|lung) markings"
    ),
    "Cardiomegaly": (
        r"cardiomegaly|(?:cardiac|heart) enlargement|enlargement of (?:\w+ )?(?:heart|cardiac silhouette)"
        rf"|(?:enlarg(?:ed|ing)|widened) (?:heart|(?:cardiac|cardiomediastinal) silhouette)"
        rf"|borderline heart size|(?:{_HEART})[^.;,]*?\benlarged"
        r"|(?:prominence|enlargement) of the (?:heart|cardiac silhouette)"
        rf"|(?:{_HEART})[^.;,]*?(?:normali[sz]|within normal limits|\bnormal)|normal {_HEART}"
        rf"|(?:{_HEART})(?:,? (?:and |the )*(?:mediastin\w+|hilar|pulmonary|vascul\w+|silhouettes?|contours?))+,? "
        r"(?:are|is|appear) [^.;,]*normal"
        rf"|(?:{_HEART}),? now (?:with)?in normal limits"
        rf"|(?:{_HEART}|cardiothoracic ratio|cardiomediastinal silhouette) {_IS}{_GROWN}\b"
        rf"|(?:increase|decrease) in (?:the )?(?:size|width) of the (?:{_HEART})"
        r"|(?:increased|increase in|decreased|decrease in)(?: the)? (?:heart size"
        r"|cardiac silhouette|cardiothoracic ratio)(?:, now (?:with)?in normal limits|, now normal)?"
        rf"|dilat\w+ of the (?:{_HEART})|left ventric\w+ {_IS}(?:prominent|enlarged|dilated)"
    ),
    "Consolidation": r"consolidations?",
    "Edema": (
        r"(?:(?:interstitial|alveolar|pulmonary|vascular) )*(?:o?edema|vascular (?:congestion|prominence))"
        r"|(?:(?:congestive|acute|overt) )*(?:heart|cardiac) failure|\bchf\b|acute failure|(?<=for )failure"
        r"|cephali[sz]ation(?: of the (?:pulmonary )?vess\w+)?|kerley(?:[ -]?b)?(?: lines)?|(?:fluid|volume) overload"
        rf"|(?:hilar|pulmonary|perihilar) (?:vessels|vasculature) {_IS}(?:engorged|congested|indistinct)"
    ),
    "Lung Opacity": r"(?:opacity|opacities|opacifications?)|air-? ?space (?:disease|abnormalit(?:y|ies))|infiltrates?",
    "Pleural Effusion": (
        r"(?<!pericardial )(?:pleural )?effusions?|pleural fluid(?: collections?)?|\bhydrothorax"
        r"|fluid (?:[\w -]*?in (?:the )?(?:\w+ )?pleural space|has (?:re-?)?(?:accumulated|collected)"
        r"|is (?:now )?(?:seen|present) at the (?:\w+ )?(?:lung )?base)"
        r"|(?:layering (?:pleural )?|fissural )fluid|meniscus(?: sign)?"
        r"|(?:blunting of|blunted|sharp)[\w ]*? costophrenic (?:angles?|sulc\w+)"
        rf"|(?:(?:both|left|right) )?costophrenic (?:angles?|sulc\w+) {_IS}(?:blunted|sharp)"
    ),
    "Pneumonia": r"pneumonias?|infections?|infectious process(?:es)?",
    "Pneumothorax": (
        r"(?:hydro)?pneumothora(?:x|ces)|(?:visceral )?pleural line|(?:pleural|apical) air\b"
        r"|\bair [\w ]*?in (?:the )?(?:\w+ )?pleural space"
    ),
}
"""CheXpert label → pattern of its names. The pattern for the heart includes its predicate."""

PARTS: dict[str, re.Pattern[str]] = {
    "Atelectasis": _compile("atelecta|volume|collapse|crowding"),
    "Cardiomegaly": _compile("cardi|heart|ventric"),
    "Consolidation": _compile("consolidation"),
    "Edema": _compile("edema|vascul|failure|chf|cephali|kerley|overload|vessels"),
    "Lung Opacity": _compile("opaci|space |infiltrate"),
    "Pleural Effusion": _compile("effusion|fluid|hydrothorax|meniscus|costophrenic"),
    "Pneumonia": _compile("pneumonia|infecti"),
    "Pneumothorax": _compile("pneumothora|pleural|apical air"),
}
"""CheXpert label → what every name in `TERMS` holds some of, since that is fast to see."""

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
        r"|tumou?rs?|carcinomas?|metasta\w+|cavit(?:y|ies|ary lesions?)|lung (?:cancer|lesions?)"
    ),
    "Pleural Other": r"pleural (?:thickening|scar\w*|plaques?|calcifications?)|fibrothorax|apical thickening",
}
"""Four more CheXpert labels, read separately from `TERMS`: in a sentence about heart and mediastinum both patterns
match the same words."""

DEVICE = _compile(
    r"\b(?:pacemaker|pacer|defibrillator|icd|generator|stimulator|catheter|picc|port-a-cath|mediport|shunt|drain"
    r"|pacing leads?|(?:chest|endotracheal|enteric|nasogastric|orogastric|feeding|tracheostomy|ng|et) tubes?"
    r"|central line|sternotomy|sternal wires|valve replacement|prosthetic valve)s?\b"
)
OTHER_THINGS = _compile(
    rf"{DEVICE.pattern}|\b(?:fractur\w+|ribs?|clavicle|shoulder|nodul\w+|mass(?:es)?|lesions?|mastectomy|thoracotomy"
    r"|mediastinal shift|pericardial effusion|hernia|granuloma\w*|scoliosis"
    r"|elevat\w+ (?:of the )?(?:\w+ )?hemidiaphragm)\b"
)
"""Things with a side of their own, which is not that of a finding in the same sentence."""

SIGN = _compile(r"costophrenic|meniscus|fluid|air|line|ratio|silhouette|heart|crowding|volume|vess|cephal|kerley")
"""In a mention: a sign of the finding rather than its name."""

EXPLAINS = _compile(
    r"[\w ,]*\b(?:consistent with|compatible with|in keeping with|represent\w*|reflect\w*|indicat\w+|suggest\w+(?: of)?"
    r"|due to|from|with)(?: [\w-]+){0,5} "
)
"""Between a sign and the name of the finding."""

ONE_OF_TWO = _compile(r" (?:versus|rather than) (?:\w+ ){0,2}")
"""Between two findings of which one is present, at one place."""

NAMED_WITH_PREDICATE = ("Cardiomegaly", "Enlarged Cardiomediastinum", "Pleural Effusion")

DEVICE_GONE = _compile(r"\b(?:remov\w+|no (?:longer|evidence)|without|discontinued)\b")

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
ANY_DEVICE = _compile("tube|ett|pac|stern|catheter|drain|line|picc|port-a-cath")
"""What every name in `DEVICES` holds some of."""

SEVERITY_WORDS = {
    1: (
        r"mild(?:ly)?|minimal(?:ly)?|minor|small(?:er)?|trace|tiny|slight(?:ly)?|subtle|subsegmental|linear|faint"
        r"|thin|streaky"
    ),
    2: r"moderate(?:ly)?[ -]sized|medium[ -]sized|moderate(?:ly)?",
    3: (
        r"(?:very )?large|siz(?:e)?able|considerable|collapse|severe(?:ly)?|marked(?:ly)?|extensive|massive(?:ly)?"
        r"|substantial"
        r"|gross(?:ly)?(?! (?:stable|unchanged|clear|normal|unremarkable|within))|florid"
    ),
}
SEVERITY = _compile("|".join(rf"(?P<s{level}>\b(?:{words})\b(?!r))" for level, words in SEVERITY_WORDS.items()))
SEVERITY_RANGE = _compile(
    r"\b(?:mild|minimal|small|trace|moderate)(?:ly)?[ -](?:to[ -])(?=(?:small|mild|moderate|large|severe))"
)
"""The lower end of "mild to moderate", of which the upper end counts."""

SIDE = _compile(
    r"(?P<both>\b(?:bilateral(?:ly)?|both|bibasilar|bibasal|biapical"
    r"|left (?:greater|worse) than right|right (?:greater|worse) than left)\b)"
    r"|(?P<left>\bleft\b|\bleft-|\blingula|\bretrocardiac\b)|(?P<right>\bright\b|\bright-|(?<!left )\bmiddle lobe\b)"
)

CLEAR = _compile(
    r"\b(?:(?:is|are|remain|now|lungs) clear|clear (?:lungs|chest)|(?:normal|unremarkable|negative) chest"
    r"|no (?:evidence of )?(?:acute|active))\b"
)
"""A chest that is called clear has none of the findings that the report does not mention."""

CHEST = _compile(
    r"\b(?:chest|lungs?|cardio\w+|cardiac|heart|mediastin\w+|hil(?:ar|um|a)|pleura\w*|thora\w+|pulmonary|vascula\w+|ribs?"
    r"|bon(?:es|y)|osseous|spine|aort\w+|diaphragm\w*|hemidiaphragm\w*|airways?|change[ds]?|unchanged|normal|acute)\b"
)
"""Words of a report in English that says something, even where no finding is named."""

UNCHANGED = r"\b(?:unchanged|stable|no (?:\w+ ){0,2}change)\b"

NOTHING_NEW = _compile(
    r"\bno (?:evidence of )?(?:acute|active|new)\b|\b(?:is|are|remain|now|lungs) clear\b|\bclear (?:lungs|chest)\b"
    rf"|\b(?:normal|unremarkable) (?:chest|study|radiograph|examination)\b|{UNCHANGED}",
    flags=re.IGNORECASE,
)
"""What is said of a chest without naming a finding."""

NEW = _compile(
    r"\b(?:new(?:ly)?|develop(?:ed|ment)|developing|appear(?:ed|ance)(?! of the)|not (?:present|seen|noted) (?:on|in)"
    r"|(?:has|have) (?:re-?)?(?:accumulated|collected)"
    r"|interval (?=left|right|bilateral|pneumo|effusion|edema|atelect|cardiom))"
    r"|\binterval (?= (?!enlarge|increase|decrease))"
)
NOW = _compile(r"\bnow\b(?! (?:small|tiny|mild|moderate|large|severe))")
_REMOVE = r"remove|erase|delete|get rid of|take(?! a\b)"
"""Orders to take a finding away."""

GONE = _compile(
    rf"\b(?:resol\w+|clear(?:ed|ing|s)|{_REMOVE}|gone|drained|evacuated|no longer"
    r"|disappear\w*|previously|normali[sz]ed"
    r"|(?:returned|back) to normal|now within|now normal)\b"
)
DENIAL = _compile(r"\b(?:no(?! longer)|without|nor|neither|negative)\b")

NEGATED_BEFORE = _compile(
    r"\b(?:no(?! (?:significant |substantial |appreciable |interval |relevant )*change)(?! longer)|without|negative for"
    r"|free of|clear of|absence of|resolution of|clearing of|resolved|resolving of|no longer|neither|nor|lack of"
    rf"|rather than)\b|^(?:please )?(?:{_REMOVE})\b"
)
DENIAL_STARTS = _compile(r"\b(?:no(?! (?:\w+ )?change)(?! longer)|without|negative for)\b")
NEGATED_AFTER = _compile(
    r"^ ?(?:: ?| ?[-–] )(?:none|no\b|absent|negative|nil|not \w+)|^ (?:completely )?(?:resolve[ds]|clear(?:ed|s))\b"
    r"|, (?:now )?(?:completely )?(?:resolved|cleared|gone)$"
    r"|\b(?:(?:has|have)(?: completely| now)? (?:resolved|cleared)"
    r"|(?:is|are|be) (?:now )?(?:resolved|cleared|absent|gone)|(?:has|have) been (?:completely )?(?:drained|evacuated)"
    r"|(?:has|have) been (?:excluded|ruled out)|(?:was|were|is|are) (?:excluded|ruled out)"
    r"|no longer|(?:has|have) (?:returned to normal|normali[sz]ed)|not (?:definitely )?(?:seen|present|identified"
    r"|visuali[sz]ed|demonstrated|evident|appreciated)(?! on| in the prior))\b"
)
NEGATED_WITHIN = _compile(r"normal|unremarkable|sharp|not enlarged|no longer|not .*(?:enlarged|widened)")
UNCERTAIN = _compile(
    r"\b(?:possibl[ey]|questionable|question of|suspected|suspicious|may|might|could|probable|borderline"
    r"|(?<!newly )apparent"
    r"|(?:cannot|can not|difficult to|not) (?:be )?(?:exclude|excluded|rule out|ruled out)|not excluded"
    r"|versus|vs|differential|(?:un|less )?likely|suspicion|doubt(?:ful)?|equivocal|concern(?:ing)?"
    r"|to exclude"
    r"|rule out)\b"
    r"|\b(?:scar\w*|fibrosis|thickening|infiltrate)(?: and/or | or |/)"
    r"|(?: and/or | or |/)(?:\w+ )?(?:scar\w*|fibrosis)\b"
)
DOUBT_OF_A_CAUSE = _compile(
    r"\b(?:(?:may|might|could|can) (?:also )?(?:be|represent|reflect|indicate|suggest)\b|possibly|differential"
    r"|probabl[ey] represent\w*)"
)
"""Applies to everything after it in the sentence: "opacity, possibly scarring, edema or pneumonia"."""

DOUBT_OF_THE_NEXT = _compile(r"(?:\bwith|\band|,) (?:an? )?(?:possible|probable|questionable|suspected)\b.*")
"""After a finding: uncertainty of something else, "cardiomegaly with possible pericardial effusion"."""

WORSE = _compile(
    r"\b(?:worse|worsen\w*|increas\w*|progress\w*|enlarging|larger|bigger|more (?:pronounced|extensive)"
    r"|(?:has|have) (?:enlarged|grown|widened)|greater|interval +enlargement of)\b"
)
BETTER = _compile(r"\b(?:better|improv\w*|decreas\w*|diminish\w*|smaller|less pronounced|regress\w*|resolving)\b")
SAME = _compile(
    r"\b(?:unchanged|stable|similar|persist\w*|again|redemonstrat\w*|as before|no (?:\w+ ){0,2}change|not significantly"
    r" changed|remain\w*)\b"
)
LIST_WORDS = _compile(
    r"[ ,]*(?:(?:or|nor)\b.*|(?:and )?"
    r"(?:(?:evidence|of|overt|acute|focal|lobar|definite|any|new|other|interstitial|airspace|air space) )*)"
)
"""Words between the findings of one denied list."""

LIST_CLOSES = _compile(r",? (?:or|nor)\b")
"""Before a finding: "no consolidation, suspicious opacity, large effusion, or pneumothorax" is one denied list."""

GONE_BEFORE = _compile(rf"\b(?:resolution of|clearing of|resolved|{_REMOVE})\b")
GONE_LIST_WORDS = _compile(
    r"[ ,]*(?:and )?(?:(?:the|left|right|bilateral|left-sided|right-sided|small|moderate|large|mild|severe|basilar"
    r"|basal|bibasilar|lower|lobe|lung|pulmonary) )*"
)
"""Words between the findings of one list of resolved findings."""

GONE_PLURAL = _compile(r"^(?: seen| noted)?[\w ]*\b(?:have (?:\w+ )?(?:resolved|cleared)|are (?:no longer|resolved))\b")
"""After a list: applies to all its members."""

SEPARATOR = _compile(
    r",| and |(?<!scarring) or |(?<!compatible)(?<!consistent)(?<!compared)(?<!keeping) with | rather than | versus "
    r"| as well as | along with | but | plus "
)
