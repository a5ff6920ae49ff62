"""The rule-based writer: describe in natural language what changed between two studies.

It states every finding of the new study with side and severity, unchanged ones included, and what has resolved, so
that prior image and description together determine the new image.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from biomedjourney_monai.preparation.reports.statements import WHOLE
from biomedjourney_monai.preparation.reports.states import Change, StudyState, compare_states
from biomedjourney_monai.preparation.reports.vocabulary import UNSIDED
from biomedjourney_monai.schema import DEGREES, SIZES

SIZE_WORDS, DEGREE_WORDS = ("", *SIZES), ("", *DEGREES)

NOUNS = {
    "Atelectasis": ("atelectasis", "atelectasis", DEGREE_WORDS),
    "Cardiomegaly": ("cardiomegaly", "cardiomegaly", DEGREE_WORDS),
    "Consolidation": ("consolidation", "consolidations", SIZE_WORDS),
    "Edema": ("pulmonary edema", "pulmonary edema", DEGREE_WORDS),
    "Lung Opacity": ("lung opacity", "lung opacities", ("",) * 4),
    "Lung Lesion": ("lung lesion", "lung lesions", ("",) * 4),
    "Pleural Effusion": ("pleural effusion", "pleural effusions", SIZE_WORDS),
    "Pleural Other": ("pleural thickening", "pleural thickening", ("",) * 4),
    "Pneumonia": ("pneumonia", "pneumonia", ("",) * 4),
    "Pneumothorax": ("pneumothorax", "pneumothoraces", SIZE_WORDS),
}
"""Label → singular, plural, adjectives by severity. A noun without a plural takes no article."""

FRAMES = {
    "new": (
        "New {list}.",
        "Interval development of {a_list}.",
        "There {is} now {a_list}.",
        "{A_list} {has} developed.",
    ),
    "resolved": (
        "{The_list} {has} resolved.",
        "Resolution of {the_list}.",
        "{The_list} {is} no longer seen.",
        "Previously seen {list} {is} no longer present.",
    ),
    "same": ("{A_list} {is} unchanged.", "Unchanged {list}.", "Stable {list}.", "Persistent {list}."),
    "possible": ("Possible {list}.", "Questionable {list}."),
    "absent": ("No {list}.", "There is no {list}."),
}
GRADED_FRAMES = {
    "worse": (
        "{The_list} {has} increased and {is} now {adjectives}.",
        "Worsening {list}, now {adjectives}.",
        "{The_list} {has} worsened, now {adjectives}.",
    ),
    "better": (
        "{The_list} {has} decreased and {is} now {adjectives}.",
        "Improving {list}, now {adjectives}.",
        "{The_list} {has} improved, now {adjectives}.",
    ),
}
UNGRADED_FRAMES = {
    "worse": ("Worsening {list}.", "{The_list} {has} increased.", "Interval worsening of {the_list}."),
    "better": ("Improving {list}.", "{The_list} {has} decreased.", "Interval improvement of {the_list}."),
}
CLEAR_FRAMES = (
    "No acute cardiopulmonary abnormality, unchanged from the prior study.",
    "The chest remains clear, without new findings since the prior study.",
    "No interval change; the lungs remain clear without acute findings.",
)
NO_CHANGE_FRAMES = ("No interval change.", "No significant interval change.", "Unchanged appearance of the chest.")
"""Of studies that only have labels."""

CLEARED_FRAMES = ("The chest is now clear.", "No acute findings remain.", "The lungs are now clear.")
CLEARED_SHARE = 0.5
DENIAL_SHARE = 0.8
MAX_DENIALS = 3
"""Pertinent negatives: with them a description has about the paper's length of 146 characters."""

REMOVABLE = ("endotracheal tube", "chest tube", "enteric tube", "central venous catheter")
PLURAL_DEVICES = ("sternotomy wires",)

CHANGED_KINDS = ("new", "worse", "better", "resolved")


def write_progression(
    prior: StudyState, new: StudyState, *, rng: np.random.Generator, only_changes: bool = False
) -> str:
    """Describe what changed from the prior to the new study.

    Args:
        prior: what the prior study shows.
        new: what the new study shows.
        rng: chooses the wording and the order of changes; never the content.
        only_changes: leave out what is unchanged and what is denied, as users do in a request; if nothing changes, it
            is stated all the same.

    Returns:
        A few short sentences, for example "New moderate left pleural effusion. Mild cardiomegaly is unchanged."
    """
    changes = compare_states(prior, new)
    only_changes = only_changes and any(change.kind != "same" for change in changes)
    if only_changes:
        changes = [change for change in changes if change.kind != "same"]
    sentences: list[str] = []
    for kind in (*rng.permutation(CHANGED_KINDS), "possible", "same"):
        sentences += _write_kind(str(kind), [change for change in changes if change.kind == kind], rng)
    if not changes:
        sentences.append(_pick(_unchanged_frames(prior, new), rng))
    elif sentences and not new.findings and new.is_normal and rng.random() < CLEARED_SHARE:
        sentences.append(_pick(CLEARED_FRAMES, rng))
    elif not only_changes:
        sentences += _write_denials(changes, prior, new, rng)
    return " ".join([*sentences, *_write_devices(prior, new, rng)])


def write_change(change: Change) -> str:
    """Write one change in the first wording of its kind.

    Example:
        >>> write_change(Change("Pleural Effusion", "new", {"left": 3}))
        'New large left pleural effusion.'
    """
    is_past = change.kind in ("resolved", "absent") or change.kind in GRADED_FRAMES
    parts = [(change.label, _sides_only(change.severities) if is_past else change.severities)]
    if change.kind not in GRADED_FRAMES:
        return _fill(FRAMES[change.kind][0 if change.kind != "same" else 1], parts)
    adjectives = _adjectives(change)
    frames = GRADED_FRAMES if adjectives else UNGRADED_FRAMES
    return _fill(frames[change.kind][0], parts, adjectives=adjectives)


def write_summary(state: StudyState, *, rng: np.random.Generator) -> str:
    """Describe one study that has no report: "Pleural effusion. Cardiomegaly."."""
    named = [_name(label, finding.severities) for label, finding in state.findings.items() if not finding.uncertain]
    doubted = [_name(label, finding.severities) for label, finding in state.findings.items() if finding.uncertain]
    sentences = [_capitalise(f"{name}.") for name in named] + [f"Possible {name}." for name in doubted]
    return " ".join(sentences) or str(rng.choice(["No acute cardiopulmonary process.", "No acute findings."]))


def _unchanged_frames(prior: StudyState, new: StudyState) -> tuple[str, ...]:
    if prior.labels_only and new.labels_only:
        return NO_CHANGE_FRAMES + (CLEAR_FRAMES if prior.is_normal and new.is_normal else ())
    return CLEAR_FRAMES if prior.is_normal and new.is_normal else NO_CHANGE_FRAMES


def _write_kind(kind: str, changes: Sequence[Change], rng: np.random.Generator) -> list[str]:
    """Write the sentences of one kind: graded changes one by one, others in lists of at most three."""
    if not changes:
        return []
    changes = [changes[place] for place in rng.permutation(len(changes))]
    if kind in GRADED_FRAMES:
        return [_write_graded(change, rng) for change in changes]
    size = 1 if kind == "new" and len(changes) <= 2 and rng.random() < 0.5 else 3
    return [_write_list(kind, changes[start : start + size], rng) for start in range(0, len(changes), size)]


def _write_list(kind: str, changes: Sequence[Change], rng: np.random.Generator) -> str:
    is_past = kind in ("resolved", "absent")
    parts = [(change.label, _sides_only(change.severities) if is_past else change.severities) for change in changes]
    return _fill(_pick(FRAMES[kind], rng), parts, word="or" if kind == "absent" else "and")


def _write_graded(change: Change, rng: np.random.Generator) -> str:
    parts = [(change.label, _sides_only(change.severities))]
    adjectives = _adjectives(change)
    if not adjectives:
        return _fill(_pick(UNGRADED_FRAMES[change.kind], rng), parts)
    return _fill(_pick(GRADED_FRAMES[change.kind], rng), parts, adjectives=adjectives)


def _fill(
    frame: str, parts: Sequence[tuple[str, Mapping[str, int]]], *, word: str = "and", adjectives: str = ""
) -> str:
    names = [_name(label, severities) for label, severities in parts]
    plural = len(parts) > 1 or _is_plural(*parts[0])
    slots = {
        "list": join_list(names, word),
        "a_list": join_list([_with_article(*part) for part in parts], word),
        "the_list": join_list([_with_the(*part) for part in parts], word),
        "is": "are" if plural else "is",
        "has": "have" if plural else "has",
        "adjectives": adjectives,
    }
    slots |= {"A_list": slots["a_list"], "The_list": slots["the_list"]}
    return _capitalise(frame.format(**slots))


def _name(label: str, severities: Mapping[str, int]) -> str:
    """ "small left pleural effusion", "small left and large right pleural effusions", "bilateral atelectasis"."""
    singular, plural, adjectives = NOUNS[label]
    if len(severities) < 2:
        ((side, severity),) = severities.items()
        return _words(adjectives[severity], side, singular)
    left, right = severities["left"], severities["right"]
    if left == right:
        return _words(adjectives[left], "bilateral", plural)
    if not adjectives[left] or not adjectives[right]:
        return _words("bilateral", plural)
    return f"{adjectives[left]} left and {adjectives[right]} right {plural}"


def _adjectives(change: Change) -> str:
    """ "large", or "small on the left and large on the right"; "" where a severity is unknown."""
    adjectives = {side: NOUNS[change.label][2][severity] for side, severity in change.severities.items()}
    if not all(adjectives.values()):
        return ""
    if len(set(adjectives.values())) == 1:
        return next(iter(adjectives.values()))
    return join_list([f"{adjectives[side]} on the {side}" for side in ("left", "right")])


def _with_article(label: str, severities: Mapping[str, int]) -> str:
    name = _name(label, severities)
    if NOUNS[label][0] == NOUNS[label][1] or _is_plural(label, severities):
        return name
    return f"an {name}" if name[0] in "aeio" else f"a {name}"


def _with_the(label: str, severities: Mapping[str, int]) -> str:
    name = _name(label, severities)
    return name if label in UNSIDED else f"the {name}"


def _is_plural(label: str, severities: Mapping[str, int]) -> bool:
    return len(severities) > 1 and NOUNS[label][0] != NOUNS[label][1]


def _sides_only(severities: Mapping[str, int]) -> dict[str, int]:
    return dict.fromkeys(severities or (WHOLE,), 0)


def _write_denials(
    changes: Sequence[Change], prior: StudyState, new: StudyState, rng: np.random.Generator
) -> list[str]:
    """Deny what was uncertain before and, as reports do, some of what the new report denies."""
    doubted = [change.label for change in changes if change.kind == "absent"]
    denied = [label for label in new.denied if label not in prior.findings]
    count = min(MAX_DENIALS, len(denied)) if rng.random() < DENIAL_SHARE else 0
    labels = [*doubted, *(denied[place] for place in sorted(rng.permutation(len(denied))[:count]))]
    return [_write_list("absent", [Change(label, "absent", {WHOLE: 0}) for label in labels], rng)] if labels else []


def _write_devices(prior: StudyState, new: StudyState, rng: np.random.Generator) -> list[str]:
    sentences = []
    for device in new.devices:
        if device not in prior.devices:
            article, verb = ("", "are") if device in PLURAL_DEVICES else ("an " if device[0] in "aeio" else "a ", "is")
            frames = (f"New {device}.", _capitalise(f"{article}{device} {verb} now in place."))
            sentences.append(_pick(frames, rng))
    gone = [device for device in prior.devices if device in REMOVABLE and device not in new.devices]
    if gone and new.has_devices is False:  # not only unmentioned: the labels have no device
        sentences += [f"The {device} has been removed." for device in gone]
    return sentences


def join_list(items: Sequence[str], word: str = "and") -> str:
    """Join a list in English: "a", "a and b", "a, b, and c"."""
    if len(items) < 3 and not any(f" {word} " in item for item in items):
        return f" {word} ".join(items)
    return ", ".join([*items[:-1], f"{word} {items[-1]}"]) if len(items) > 1 else items[0]


def _pick(frames: Sequence[str], rng: np.random.Generator) -> str:
    return frames[int(rng.integers(len(frames)))]


def _words(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]
