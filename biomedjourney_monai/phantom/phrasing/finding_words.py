"""The vocabulary of the five findings: severity words, nouns, and sentence frames, as tables.

Frames use the slots
    <np>      the phrase with severity and side: "small left pleural effusion"
    <a_np>    the same with its article: "a small left pleural effusion"
    <the>     the finding with side, without severity: "the left pleural effusion"
    <adj>     the severity alone: "small", or "small on the left and large on the right"
    <is> <has>  agreeing with the phrase
    <grown> <shrunk>  "larger" and "smaller", or what is said of findings without size
    <prior>   the study before
In a frame whose name ends in _END the phrase stands last, and may carry a clause.
"""

from __future__ import annotations

SEVERITY_WORDS: dict[str, dict[int, tuple[str, ...]]] = {
    "Atelectasis": {
        1: ("mild", "minimal", "minor", "subsegmental", "linear", "slight"),
        2: ("moderate",),
        3: ("severe", "marked", "extensive", "substantial"),
    },
    "Cardiomegaly": {
        1: ("mild", "mild", "slight", "minimal"),
        2: ("moderate",),
        3: ("severe", "marked", "massive", "gross"),
    },
    "Edema": {
        1: ("mild", "mild", "minimal", "slight"),
        2: ("moderate",),
        3: ("severe", "marked", "florid", "extensive"),
    },
    "Pleural Effusion": {
        1: ("small", "small", "trace", "tiny", "minimal"),
        2: ("moderate", "moderate", "moderate-sized", "medium-sized"),
        3: ("large", "large", "massive", "extensive", "very large"),
    },
    "Pneumothorax": {
        1: ("small", "small", "tiny", "trace", "minimal"),
        2: ("moderate", "moderate", "moderate-sized", "medium-sized"),
        3: ("large", "large", "very large", "extensive"),
    },
}
"""Adjectives by severity. Each reads well before its finding; no word stands for two severities of one finding."""

PREDICATE_WORDS: dict[str, dict[int, tuple[str, ...]]] = {
    "Atelectasis": {1: ("mild", "minimal"), 2: ("moderate",), 3: ("severe", "marked", "extensive")},
    "Cardiomegaly": {1: ("mild",), 2: ("moderate",), 3: ("severe", "marked")},
    "Edema": {1: ("mild", "minimal"), 2: ("moderate",), 3: ("severe", "marked")},
    "Pleural Effusion": {1: ("small", "trace"), 2: ("moderate", "moderate in size"), 3: ("large", "massive")},
    "Pneumothorax": {1: ("small", "tiny"), 2: ("moderate", "moderate in size"), 3: ("large",)},
}
"""Adjectives that can stand after "is now"."""

ADVERBS = {1: ("mildly", "slightly", "minimally"), 2: ("moderately",), 3: ("severely", "markedly", "massively")}
"""How much the heart is enlarged."""

NOUNS: dict[str, tuple[str, ...]] = {
    "Atelectasis": (
        "atelectasis",
        "basilar atelectasis",
        "basal atelectasis",
        "lower lobe atelectasis",
        "lower lung atelectasis",
        "atelectatic change",
    ),
    "Cardiomegaly": (
        "cardiomegaly",
        "cardiomegaly",
        "enlargement of the cardiac silhouette",
        "cardiac enlargement",
        "enlargement of the heart",
    ),
    "Edema": ("pulmonary edema", "pulmonary edema", "edema", "interstitial edema", "interstitial pulmonary edema"),
    "Pleural Effusion": ("pleural effusion", "pleural effusion", "effusion", "pleural fluid collection"),
    "Pneumothorax": ("pneumothorax",),
}

PLURALS = {"pneumothorax": "pneumothoraces"}
"""Plurals that do not end in -s."""

COUNTABLE = ("Pleural Effusion", "Pneumothorax")

BILATERAL_ATELECTASIS = ("bibasilar atelectasis", "bilateral basilar atelectasis", "bilateral lower lobe atelectasis")

PRIOR = (
    "{the|} {prior|previous} {study|exam|radiograph|examination}",
    "the {study|radiograph|exam} of ___",
    "___",
    "the most recent {prior|study}",
    "the {prior|previous} {chest radiograph|film|study}",
)

PRESENT_END = (
    "<np>",
    "<np>",
    "there <is> <a_np>",
    "there <is> <a_np>",
    "findings {compatible|consistent|in keeping} with <a_np>",
    "the {radiograph|study|image} {shows|demonstrates} <a_np>",
    "note is made of <a_np>",
)
PRESENT = (
    "<a_np> <is> {present|noted|seen|identified|demonstrated|visualized}",
    "<np> <is> {present|noted|seen|identified}",
)
NEW_END = (
    "new <np>",
    "new <np>",
    "interval {development|appearance} of <a_np>",
    "there has been {interval|} development of <a_np>",
    "there <is> now <a_np>",
    "newly {apparent|seen|developed} <np>",
)
NEW = (
    "<a_np> <is> new {since|compared to|from} <prior>",
    "<a_np> <has> {developed|appeared} {since <prior>|in the interval}",
    "<np>, {new since <prior>|new in the interval|new|not seen on <prior>}",
)
WORSE_END = (
    "{worsening|increasing|worsened|increased|progressive} <np>",
    "{interval increase in|worsening of|interval worsening of|progression of|increase in} <the>, now <adj>",
    "<the> <has> {increased|worsened|progressed} {in the interval|since <prior>|} and <is> now <adj>",
    "<the> <is> {<grown>|worse|increased|more pronounced} than on <prior>, now <adj>",
)
WORSE = (
    "<np>, {increased|worse|worsened|progressed} {since|compared to|from} <prior>",
    "<a_np> <has> {increased|worsened|progressed} {since <prior>|in the interval}",
)
BETTER_END = (
    "{improving|decreasing|improved|decreased} <np>",
    "{interval decrease in|improvement in|interval improvement in|decrease in} <the>, now <adj>",
    "<the> <has> {decreased|improved|diminished} {in the interval|since <prior>|} and <is> now <adj>",
    "improved but {persistent|residual} <np>",
    "<the> <is> {less pronounced|<shrunk>|improved|decreased}, now <adj>",
)
BETTER = (
    "<np>, {decreased|improved|diminished} {since|compared to|from} <prior>",
    "<a_np> <has> {decreased|improved} {since <prior>|in the interval}",
)
UNCHANGED_END = (
    "{unchanged|stable|persistent|essentially unchanged|similar} <np>",
    "no {significant|appreciable|relevant|} {interval|} change in <np>",
    "again {seen|noted|demonstrated} <is> <a_np>",
    "redemonstration of <a_np>",
)
UNCHANGED = (
    "<np>, {unchanged|stable|not significantly changed|similar} {since|compared to|from} <prior>",
    "<a_np> <is> {again seen|again noted|unchanged|stable|redemonstrated|similar to prior}",
    "<np>, {unchanged|stable|as before}",
)
RESOLVED = (
    "{previously seen|previously noted|prior|previous} <noun> <has> {resolved|cleared|completely resolved}",
    "{interval|complete|} resolution of <the>",
    "resolved <noun>",
    "<the> <is> no longer {seen|visualized|evident|present}",
    "<the> <has> {resolved|cleared} {since <prior>|in the interval|}",
    "<the> seen on <prior> <has> resolved",
)
UNCERTAIN_END = (
    "{possible|questionable|suspected} <np>",
    "{cannot exclude|difficult to exclude|cannot rule out} <a_np>",
    "question of <a_np>",
    "<lead> {may represent|may reflect|could represent|may be due to} <a_np>",
)
UNCERTAIN = (
    "<a_np> {cannot be excluded|is possible|is suspected|is not excluded|cannot be ruled out}",
    "there may be <a_np>",
)
LEADS = {
    "Atelectasis": "{streaky|linear|faint} {densities|markings} at the <side> {base|lung base}",
    "Cardiomegaly": "apparent prominence of the {heart|cardiac silhouette}",
    "Edema": "{perihilar haziness|indistinct pulmonary vessels|prominent vascular markings}",
    "Pleural Effusion": "blunting of the <side> costophrenic {angle|sulcus}",
    "Pneumothorax": "{a|} {thin|faint|subtle} lucency at the <side> apex",
}
"""What is seen, where what it means is uncertain."""

HEART_PRESENT = (
    "{the heart|heart|the cardiac silhouette|heart size|cardiac silhouette} is <adverb> enlarged",
    "the {heart|cardiac silhouette} appears <adverb> enlarged",
)
HEART_NEW = (
    "the {heart|cardiac silhouette} is now <adverb> enlarged",
    "{the heart|heart size|the cardiac silhouette} has increased and is now <adverb> enlarged",
    "new <adverb> enlarged {heart|cardiac silhouette}",
)
HEART_WORSE = (
    "{the heart|heart size|the cardiac silhouette} has {increased|increased further} {since <prior>|} "
    "and is now <adverb> enlarged",
    "the {heart|cardiac silhouette} is larger than on <prior> and now <adverb> enlarged",
)
HEART_BETTER = (
    "{the heart|heart size|the cardiac silhouette} has decreased {since <prior>|} but {is still|remains} "
    "<adverb> enlarged",
    "the {heart|cardiac silhouette} is smaller than on <prior> but remains <adverb> enlarged",
)
HEART_UNCHANGED = (
    "the {heart|cardiac silhouette} is <adverb> enlarged, {unchanged|stable|as before}",
    "the {heart|cardiac silhouette} remains <adverb> enlarged",
)
HEART_UNCERTAIN = (
    "borderline {cardiomegaly|heart size}",
    "{the heart|heart size|the cardiac silhouette} is borderline enlarged",
    "possible {mild|slight} cardiomegaly",
)
HEART_RESOLVED = (
    "{the heart|heart size|the cardiac silhouette} has {returned to normal|normalized}",
    "{the heart|heart size|the cardiac silhouette} is now {normal|within normal limits}",
    "the {heart|cardiac silhouette} is no longer enlarged",
    "{previously seen|previously noted|prior|previous} {cardiomegaly|cardiac enlargement} has resolved",
    "{interval|} resolution of {the|} {cardiomegaly|cardiac enlargement}",
)

DENIALS: dict[str, tuple[str, ...]] = {
    "Atelectasis": ("atelectasis",),
    "Cardiomegaly": ("cardiomegaly", "cardiac enlargement"),
    "Edema": ("pulmonary edema", "edema", "overt pulmonary edema", "interstitial edema"),
    "Pleural Effusion": ("pleural effusion", "pleural effusions", "effusion"),
    "Pneumothorax": ("pneumothorax",),
    "Consolidation": ("focal consolidation", "consolidation", "lobar consolidation"),
    "Pneumonia": ("pneumonia", "acute pneumonia"),
}
"""What can follow "no"."""

DENIAL_FRAMES = (
    "no <list>",
    "no <list>",
    "there is no <list>",
    "no evidence of <list>",
    "no <list> {seen|identified|present|visualized}",
    "negative for <list>",
)
HEART_NORMAL = (
    "{the heart|heart} size is {normal|within normal limits}",
    "{the heart|the cardiac silhouette|cardiac silhouette} is {normal in size|within normal limits|not enlarged}",
    "normal heart size",
    "heart size is normal",
)
LUNGS_EXPANDED = ("the lungs are {well|fully} expanded without atelectasis", "no {areas of|} atelectasis")
