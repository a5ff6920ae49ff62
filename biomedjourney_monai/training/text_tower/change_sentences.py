"""Random sentences about change with a known meaning, to train and to probe the small text tower.

A story states for each of the five findings how it changed, on which side, and how severe it is now. The same story has
many wordings, of which the tower must keep the common meaning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from biomedjourney_monai.schema import FINDINGS

STATUSES = ("unmentioned", "absent", "resolved", "present", "new", "worse", "better", "unchanged")
HAS_SEVERITY = STATUSES[3:]
SIDED = ("Atelectasis", "Pleural Effusion", "Pneumothorax")
ATTRIBUTE_CLASSES = tuple(size for _ in FINDINGS for size in (len(STATUSES), 4, 4))
"""Number of classes of each of `story_targets`' 15 numbers."""

_STATUS_SHARES = (0.44, 0.06, 0.10, 0.08, 0.12, 0.07, 0.07, 0.06)

_NOUNS = {
    "Atelectasis": "atelectasis|atelectasis|{basilar|basal|lower lobe} atelectasis|atelectatic change|volume loss",
    "Cardiomegaly": "cardiomegaly|cardiomegaly|cardiac enlargement|enlargement of the {heart|cardiac silhouette}",
    "Edema": "edema|pulmonary edema|interstitial {pulmonary|} edema",
    "Pleural Effusion": "pleural effusion|effusion|pleural fluid",
    "Pneumothorax": "pneumothorax",
}
_SMALL_FINDINGS = ("Pleural Effusion", "Pneumothorax")
_SEVERITIES = {
    True: ("", "small|small|trace|tiny|minimal", "moderate|moderate|moderate-sized|medium", "large|large|massive"),
    False: ("", "mild|mild|minimal|slight", "moderate", "severe|severe|marked|extensive"),
}
_FRAMES = {
    "absent": "no <name>|no evidence of <name>|there is no <name>|without <name>",
    "resolved": "<sided> has {resolved|cleared}|{interval|complete|} resolution of <sided>|resolved <sided>|"
    "<sided> is no longer {seen|present}|<sided> has {completely|} resolved|no residual <sided>|"
    "{previous|previously seen|prior} <sided> has {resolved|disappeared}",
    "present": "<full>|there is <full>|<full> is {present|seen|noted}",
    "new": "new <full>|new <full>|interval {development|appearance} of <full>|<full> {has developed|has appeared}|"
    "<full>, new {since the prior study|}|there is now <full>|<full> is new",
    "worse": "{worsening|increasing|worsened|increased|progressive} <sided>, now <severity>|"
    "{worsened|increased} <full>|<sided> has {worsened|increased|progressed} and is now <severity>|"
    "{increase|worsening|progression} of <sided>, now <severity>|<full>, {worse|increased} than before|"
    "<sided> is {larger|worse|more extensive}, now <severity>",
    "better": "{improving|decreasing|improved|decreased} <sided>, now <severity>|{improved|decreased} <full>|"
    "<sided> has {improved|decreased|diminished} and is now <severity>|{decrease|improvement} of <sided>, "
    "now <severity>|<full>, {better|decreased|smaller} than before|improved but {persistent|residual} <full>",
    "unchanged": "{unchanged|stable|persistent|similar} <full>|<full> is {unchanged|stable|similar}|"
    "no {significant|} change in <full>|<full> {persists|remains unchanged}|<full>, {unchanged|as before}",
}
_LISTS = {
    "absent": "no <list>|no <list>|there is no <list>|no evidence of <list>",
    "resolved": "<list> have resolved|resolution of <list>|<list> are no longer {seen|present}|resolved <list>|"
    "previously seen <list> {have resolved|are no longer present}",
    "present": "<list>|there {is|are} <list>|<list> are {present|seen}",
    "new": "new <list>|new <list>|interval development of <list>|there are now <list>|<list> have {developed|appeared}|"
    "<list> are new",
    "unchanged": "<list> are {unchanged|stable}|unchanged <list>|stable <list>|persistent <list>",
}
"""Sentences about several findings with one status."""
_LIST_SHARE = 0.6
_PLURALS = {"pneumothorax": "pneumothoraces", "effusion": "effusions"}
_HEART_SIZE = {
    "absent": "{the heart is|heart size is} {normal|within normal limits|not enlarged}",
    "resolved": "{the heart|heart size} {is now normal|has returned to normal|has normalized}",
    "present": "the heart is <adverb> enlarged",
    "new": "the heart is now <adverb> enlarged, which is new|the heart has become <adverb> enlarged",
    "worse": "the heart is larger{ than before|}, now <adverb> enlarged|"
    "heart size has increased, now <adverb> enlarged",
    "better": "the heart is smaller{ than before|} but still <adverb> enlarged|"
    "heart size has decreased, now <adverb> enlarged",
    "unchanged": "the heart remains <adverb> enlarged|heart size is unchanged, <adverb> enlarged",
}
_ADVERBS = ("", "mildly|slightly", "moderately", "severely|markedly|massively")
_ASIDES = (
    "no acute process|no focal consolidation|no pneumonia|support devices are unchanged|the lungs are otherwise clear|"
    "endotracheal tube has been removed|pacemaker leads are in standard position|low lung volumes|"
    "sternotomy wires are intact|mediastinal contours are stable|comparison is made to the prior study"
)


@dataclass(frozen=True)
class FindingChange:
    """What a story says about one finding.

    Args:
        status: one of `STATUSES`.
        left: current severity on the patient's left, 0 to 3; the severity of a finding without sides.
        right: current severity on the patient's right, 0 to 3; 0 for a finding without sides.
    """

    status: str = "unmentioned"
    left: int = 0
    right: int = 0


Story = dict[str, FindingChange]


def draw_story(rng: np.random.Generator) -> Story:
    """Draw the change of each of the five findings; at least one is mentioned."""
    while True:
        story = {finding: _draw_change(rng, finding) for finding in FINDINGS}
        if any(change.status != "unmentioned" for change in story.values()):
            return story


def tell_story(rng: np.random.Generator, story: Story) -> str:
    """Word a story, with random words and order.

    Returns:
        Sentences such as "New moderate left pleural effusion. Cardiomegaly has resolved."
    """
    return join_parts(tell_in_parts(rng, story))


def tell_in_parts(rng: np.random.Generator, story: Story) -> list[tuple[str, int]]:
    """Word a story in parts, each with its finding.

    Returns:
        Parts in order, for `join_parts`, each with the index of its finding in `schema.FINDINGS`; 5 for an aside, -1
        for punctuation and for words that several findings share.
    """
    sentences = [_tell_group(rng, story, group) for group in _draw_groups(rng, story)]
    if rng.random() < 0.3:
        sentences.append([(_pick(rng, _ASIDES), len(FINDINGS))])
    return [part for index in rng.permutation(len(sentences)) for part in (*sentences[index], (".", -1))]


def join_parts(parts: list[tuple[str, int]]) -> str:
    """Join the parts of `tell_in_parts` into sentences."""
    text = re.sub(r" +", " ", " ".join(part for part, _ in parts)).strip()
    sentences = re.sub(r" ([,.])", r"\1", text).split(". ")
    return ". ".join(sentence[:1].upper() + sentence[1:] for sentence in sentences)


def story_targets(story: Story) -> np.ndarray:
    """Class numbers of a story: for each finding its status (index in `STATUSES`), severity left and severity right.

    Returns:
        int64, shape (15,).
    """
    numbers = [(STATUSES.index(story[name].status), story[name].left, story[name].right) for name in FINDINGS]
    return np.array(numbers, dtype=np.int64).reshape(-1)


def _draw_change(rng: np.random.Generator, finding: str) -> FindingChange:
    status = STATUSES[rng.choice(len(STATUSES), p=_STATUS_SHARES)]
    if status not in HAS_SEVERITY:
        return FindingChange(status)
    severities = rng.integers(1, 4, size=2)
    if finding not in SIDED:
        return FindingChange(status, int(severities[0]))
    sides = rng.choice(3, p=(0.4, 0.4, 0.2))  # left, right, both
    if sides == 2 and rng.random() < 0.6:
        severities[1] = severities[0]
    return FindingChange(status, int(severities[0]) * (sides != 1), int(severities[1]) * (sides != 0))


def _draw_groups(rng: np.random.Generator, story: Story) -> list[list[str]]:
    """Draw which findings share a sentence: one to three with the same status."""
    groups: list[list[str]] = []
    for index in rng.permutation(len(FINDINGS)):
        finding, status = FINDINGS[index], story[FINDINGS[index]].status
        mates = [group for group in groups if story[group[0]].status == status and len(group) < 3]
        if status in _LISTS and mates and rng.random() < _LIST_SHARE:
            mates[0].append(finding)
        elif status != "unmentioned":
            groups.append([finding])
    return groups


def _tell_group(rng: np.random.Generator, story: Story, group: list[str]) -> list[tuple[str, int]]:
    if len(group) == 1:
        return [(_tell(rng, group[0], story[group[0]]), FINDINGS.index(group[0]))]
    status = story[group[0]].status
    before, after = _pick(rng, _LISTS[status]).split("<list>")
    slot = {"absent": "name", "resolved": "sided"}.get(status, "full")
    article = _pick(rng, "|the ") if status in ("resolved", "unchanged") else _pick(rng, "||a ")
    parts: list[tuple[str, int]] = [(before.strip(), -1)]
    for place, finding in enumerate(group):
        if place:
            joint = "or" if status == "absent" else "and"
            is_last = place == len(group) - 1
            parts.append((_pick(rng, f", {joint}|{joint}") if is_last else ",", -1))
        words = _fill_slots(rng, finding, story[finding])[slot].strip(" ,")
        parts.append(((article if status != "absent" else "") + words, FINDINGS.index(finding)))
    return [*parts, (after.strip(), -1)]


def _tell(rng: np.random.Generator, finding: str, change: FindingChange) -> str:
    if finding == "Cardiomegaly" and rng.random() < 0.35:
        adverb = _pick(rng, _ADVERBS[change.left])
        return _pick(rng, _HEART_SIZE[change.status]).replace("<adverb>", adverb)
    frame = _pick(rng, _FRAMES[change.status])
    for slot, words in _fill_slots(rng, finding, change).items():
        frame = frame.replace(f"<{slot}>", words)
    return re.sub(r" +", " ", frame).replace(" ,", ",").replace(",,", ",").strip(" ,")


def _fill_slots(rng: np.random.Generator, finding: str, change: FindingChange) -> dict[str, str]:
    """Words for the slots of a frame: <name>, <sided> with its side, <full> also with severity, <severity> alone."""
    name = _pick(rng, _NOUNS[finding])
    scale = _SEVERITIES[finding in _SMALL_FINDINGS]
    left, right = (_pick(rng, scale[severity]) for severity in (change.left, change.right))
    if finding not in SIDED:
        slots = {"severity": left, "sided": name, "full": f"{left} {name}"}
    elif change.status not in HAS_SEVERITY:
        slots = {"sided": f"{_pick(rng, 'left |right |bilateral |')}{name}"}
    elif change.left and change.right:
        slots = _both_sides(rng, name, (left, right), same=change.left == change.right)
    else:
        slots = _one_side(rng, name, "left" if change.left else "right", left or right)
    return {**slots, "name": name}


def _one_side(rng: np.random.Generator, name: str, side: str, severity: str) -> dict[str, str]:
    sided = _pick(rng, f"{name} on the {side}|{side}-sided {name}|{side} {name}|{side} {name}")
    return {"severity": severity, "sided": sided, "full": f"{severity} {sided}"}


def _both_sides(rng: np.random.Generator, name: str, severities: tuple[str, str], *, same: bool) -> dict[str, str]:
    left, right = severities
    words = name.split()
    plural = " ".join([*words[:-1], _PLURALS.get(words[-1], words[-1])]) if rng.random() < 0.6 else name
    bilateral = f"bilateral {plural}"
    if same:
        return {"severity": left, "sided": bilateral, "full": f"{left} {bilateral}"}
    sides = [(left, "left"), (right, "right")]
    if rng.random() < 0.5:
        sides.reverse()
    severity = " and ".join(f"{word} on the {side}" for word, side in sides)
    if rng.random() < 0.5:
        full = " and ".join(f"{word} {side}" for word, side in sides) + f" {plural}"
    else:
        full = f"bilateral {plural}, {severity},"
    return {"severity": severity, "sided": bilateral, "full": full}


def _pick(rng: np.random.Generator, choices: str) -> str:
    """Choose one of "a|b|c", then one in each "{d|e}" of it."""
    options = re.split(r"\|(?![^{]*\})", choices)
    chosen = options[int(rng.integers(len(options)))]
    while match := re.search(r"\{([^{}]*)\}", chosen):
        inner = match.group(1).split("|")
        chosen = chosen[: match.start()] + inner[int(rng.integers(len(inner)))] + chosen[match.end() :]
    return chosen
