"""Statements about findings: present, changed, uncertain and denied ones.

Every function returns clauses without capital letter and full stop. Severities are 0 to 3; a finding's two severities
are (left, right) of the patient, and findings without sides use the left one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.mentions import PRESENT, UNCERTAIN
from biomedjourney_monai.phantom.phrasing import voice as words
from biomedjourney_monai.phantom.phrasing.voice import Voice, join_list, with_article

UNSIDED = ("Cardiomegaly", "Edema")
"""Findings without sides."""

Severities = tuple[int, int]


@dataclass(frozen=True)
class Phrase:
    """The parts of a noun phrase; see the slots in finding_words.yaml."""

    np: str
    a_np: str
    the: str
    noun: str
    adj: str
    is_plural: bool

    def slots(self) -> dict[str, str]:
        """Return the slots of a frame."""
        verbs = {"is": "are", "has": "have"} if self.is_plural else {"is": "is", "has": "has"}
        return {
            "np": self.np, "a_np": self.a_np, "the": self.the, "noun": self.noun, "adj": self.adj, **verbs
        }  # fmt: skip


def severities_of(state: FindingState, finding: str) -> Severities:
    """Return the (left, right) severities; (severity, 0) for a finding without sides."""
    if finding in UNSIDED:
        return state.severity(finding), 0
    return state.severity(finding, "left"), state.severity(finding, "right")


def state_finding(
    voice: Voice, finding: str, now: Severities, *, mention: int | None, before: Severities | None = None
) -> list[str]:
    """State one finding.

    Args:
        now: the severities at this visit, or the suspected ones.
        mention: 1 present, -1 uncertain; 0 gives a statement only if the finding has resolved.
        before: the severities at the previous visit; None states no change.

    Returns:
        Clauses, possibly none. `deny` writes plain denials.
    """
    if mention == UNCERTAIN:
        return [_say_uncertain(voice, finding, now)]
    if mention != PRESENT:
        gone = before if before and any(before) and mention is not None else None
        return [_say_resolved(voice, finding, gone)] if gone else []
    clauses = []
    for status, severities in _group_sides(finding, now, before).items():
        if status != "resolved":
            clauses.append(_say_status(voice, finding, severities, status))
        elif voice.chance(0.6):
            clauses.append(_say_resolved(voice, finding, severities))
    return clauses


def name_finding(voice: Voice, finding: str, severities: Severities) -> str:
    """Return a bare noun phrase: "small left pleural effusion"."""
    return describe(voice, finding, severities, may_trail=False).np


def deny(voice: Voice, labels: Sequence[str], *, plain_only: bool = False) -> list[str]:
    """Deny findings, several in one clause where possible; `plain_only` uses only "no …", for a short impression."""
    clauses, listed = [], []
    for label in voice.shuffle(labels):
        if label == "Cardiomegaly" and not (plain_only and voice.chance(0.5)):
            clauses.append(voice.say(voice.pick(words.HEART_NORMAL)))
        elif label == "Atelectasis" and not plain_only and voice.chance(0.25):
            clauses.append(voice.say(voice.pick(words.LUNGS_EXPANDED)))
        else:
            listed.append(label)
    while listed:
        count = 1 + int(voice.chance(0.75)) + int(voice.chance(0.5))
        named, listed = listed[:count], listed[count:]
        names = join_list([voice.pick(words.DENIALS[label]) for label in named], word="or")
        frame = "no <list>" if plain_only and voice.chance(0.6) else voice.pick(words.DENIAL_FRAMES)
        clauses.append(voice.say(frame, list=names))
    return clauses


def describe(voice: Voice, finding: str, severities: Severities, *, may_trail: bool) -> Phrase:
    """Build the noun phrase of a present finding.

    `may_trail` allows ", small on the left and large on the right" after the noun.
    """
    if finding in UNSIDED:
        return _describe_unsided(voice, finding, severities[0])
    if all(severities):
        return _describe_both(voice, finding, severities, may_trail=may_trail)
    side, severity = ("left", severities[0]) if severities[0] else ("right", severities[1])
    noun = voice.pick(words.NOUNS[finding])
    adjective = voice.pick(words.SEVERITY_WORDS[finding][severity])
    sided = voice.say("{<side>|<side>|<side>-sided|<side>}", side=side)
    if " " in noun and finding == "Atelectasis":  # "left basilar", never "left-sided basilar"
        sided = side
    if noun == "atelectasis" and voice.chance(0.4):
        np, the = f"{adjective} atelectasis at the {side} base", f"atelectasis at the {side} base"
    elif voice.chance(0.12):
        np, the = f"{adjective} {noun} on the {side}", f"{noun} on the {side}"
    else:
        np, the = f"{adjective} {sided} {noun}", f"{sided} {noun}"
    a_np = with_article(np) if finding in words.COUNTABLE else np
    adj = voice.pick(words.PREDICATE_WORDS[finding][severity])
    return Phrase(np, a_np, f"the {the}", the, adj, is_plural=False)


def _describe_unsided(voice: Voice, finding: str, severity: int) -> Phrase:
    noun = voice.pick(words.NOUNS[finding])
    adjective = voice.pick(words.SEVERITY_WORDS[finding][severity])
    if finding == "Edema" and severity == 3 and voice.chance(0.3):
        noun = "alveolar pulmonary edema"
    np = f"{adjective} {noun}"
    adj = voice.pick(words.PREDICATE_WORDS[finding][severity])
    return Phrase(np, np, f"the {noun}", noun, adj, is_plural=False)


def _describe_both(voice: Voice, finding: str, severities: Severities, *, may_trail: bool) -> Phrase:
    noun = voice.pick(words.NOUNS[finding])
    is_plural = finding in words.COUNTABLE
    nouns = words.PLURALS.get(noun, noun + "s") if is_plural else noun
    bilateral = voice.pick(words.BILATERAL_ATELECTASIS) if finding == "Atelectasis" else f"bilateral {nouns}"
    left, right = severities
    if left == right:
        adjective = voice.pick(words.SEVERITY_WORDS[finding][left])
        adj = voice.pick(words.PREDICATE_WORDS[finding][left])
        np = f"{adjective} {bilateral}"
        if finding != "Atelectasis" and voice.chance(0.3):
            np = f"bilateral {adjective} {nouns}"
    else:
        sides = voice.shuffle([("left", left), ("right", right)])
        adj = join_list(
            [f"{voice.pick(words.PREDICATE_WORDS[finding][severity])} on the {side}" for side, severity in sides]
        )
        named = [(voice.pick(words.SEVERITY_WORDS[finding][severity]), side) for side, severity in sides]
        if may_trail and voice.chance(0.5):
            np = bilateral + ", " + join_list([f"{word} on the {side}" for word, side in named])
        else:
            np = join_list([f"{word} {side}" for word, side in named]) + " " + nouns
    return Phrase(np, np, f"the {bilateral}", bilateral, adj, is_plural=is_plural)


def _group_sides(finding: str, now: Severities, before: Severities | None) -> dict[str, Severities]:
    """Return status → severities of the sides that share it; for "resolved", the severities before."""
    if before is None:
        return {"present": now}
    groups: dict[str, list[int]] = {}
    for side in (0,) if finding in UNSIDED else (0, 1):
        if now[side] or before[side]:
            status = _compare(now[side], before[side])
            groups.setdefault(status, [0, 0])[side] = now[side] or before[side]
    return {status: (left, right) for status, (left, right) in groups.items()}


def _compare(now: int, before: int) -> str:
    if not before:
        return "new"
    if not now:
        return "resolved"
    return "worse" if now > before else "better" if now < before else "unchanged"


def _say_status(voice: Voice, finding: str, severities: Severities, status: str) -> str:
    if finding == "Cardiomegaly" and voice.chance(0.45):
        adverb = voice.pick(words.ADVERBS[severities[0]])
        return voice.say(voice.pick(words.HEART_FRAMES[status]), adverb=adverb, prior=_name_prior(voice))
    return _fill(voice, finding, severities, status)


def _say_uncertain(voice: Voice, finding: str, now: Severities) -> str:
    if finding == "Cardiomegaly" and now[0] == 1 and voice.chance(0.5):
        return voice.say(voice.pick(words.HEART_UNCERTAIN))
    return _fill(voice, finding, now, "uncertain")


def _say_resolved(voice: Voice, finding: str, before: Severities) -> str:
    if finding == "Cardiomegaly":
        return voice.say(voice.pick(words.HEART_RESOLVED), prior=_name_prior(voice))
    phrase = describe(voice, finding, before, may_trail=False)
    return voice.say(voice.pick(words.RESOLVED), **phrase.slots(), prior=_name_prior(voice))


def _fill(voice: Voice, finding: str, severities: Severities, status: str) -> str:
    """Choose a frame and fill it."""
    stands_last = voice.chance(0.65)
    phrase = describe(voice, finding, severities, may_trail=stands_last)
    has_size = finding in words.COUNTABLE
    slots = phrase.slots() | {
        "grown": "larger" if has_size else "more conspicuous",
        "shrunk": "smaller" if has_size else "less conspicuous",
    }
    if status == "uncertain":
        both = finding not in UNSIDED and all(severities)
        sides = "bases" if both else ("left" if severities[0] else "right")
        lead = words.LEADS[finding]
        lead = _both_sides(lead) if both else lead.replace("<side>", sides)
        slots["lead"] = voice.say(lead)
    return voice.say(
        voice.pick(words.FRAMES[status]["last" if stands_last else "inside"]), **slots, prior=_name_prior(voice)
    )


def _both_sides(lead: str) -> str:
    """Rewrite a lead that names one side for both sides."""
    lead = lead.replace("the <side> {base|lung base}", "{the|both} lung bases")
    lead = lead.replace("the <side> costophrenic {angle|sulcus}", "both costophrenic {angles|sulci}")
    return lead.replace("{a|} {thin|faint|subtle} lucency at the <side> apex", "{thin|faint} lucencies at both apices")


def _name_prior(voice: Voice) -> str:
    return voice.say(voice.pick(words.PRIOR))
