"""The findings of a study, from its CheXpert labels and its report, and how two studies differ."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from biomedjourney_monai.preparation.reports.statements import WHOLE, Statement, read_devices, read_statements
from biomedjourney_monai.preparation.reports.vocabulary import CLEAR
from biomedjourney_monai.schema import FINDINGS

DESCRIBED = (*FINDINGS, "Consolidation", "Pneumonia", "Lung Opacity")
"""The CheXpert labels that a description can mention, in this order."""

DESCRIBED_FROM_LABELS = ("Lung Lesion", "Pleural Other")
"""Further labels that are described where both studies have labels and no report."""

KINDS = ("new", "worse", "better", "possible", "same", "resolved", "absent")


_NOTHING = Statement()


@dataclass(frozen=True)
class State:
    """One finding in one study.

    Args:
        severities: side ("left", "right", or "" if none is known) → 0 unknown, 1 small or mild, 2 moderate,
            3 large or severe. Never empty.
        uncertain: whether the finding is uncertain.
        trends: side → the trend that the report states: "worse", "better" or "same".
    """

    severities: Mapping[str, int]
    uncertain: bool = False
    trends: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyState:
    """The findings and devices of one study.

    Args:
        findings: label → state, for the labels of `DESCRIBED` that are present or uncertain.
        denied: labels of `DESCRIBED` that are stated to be absent.
        devices: names of devices in the report.
        has_devices: the Support Devices label; None if the study has no labels.
        passed_over: labels that are not mentioned, which does not mean resolved: those missing from a report without
            labels that calls nothing clear, and an opacity next to its cause.
        labels_only: whether there is no text.
        is_normal: False if the labels alone do not say No Finding, so that nothing may be called clear.
    """

    findings: Mapping[str, State]
    denied: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    has_devices: bool | None = None
    passed_over: tuple[str, ...] = ()
    labels_only: bool = False
    is_normal: bool = True


@dataclass(frozen=True)
class Change:
    """The change of one finding: one of `KINDS`, and side → severity after (for "resolved" before) the change."""

    label: str
    kind: str
    severities: Mapping[str, int]


def read_state(labels: Mapping[str, float], text: str, *, details: str = "") -> StudyState:
    """Combine a study's labels and text: labels decide which findings are present, the text gives side and severity.

    Args:
        labels: CheXpert label → 1, 0, -1 or NaN. If all are NaN, the text alone decides.
        text: the impression, or the text that replaces it; may be empty.
        details: the findings section of a report with an impression. It gives side and severity if the text has
            neither and, without labels, the findings that the text does not mention.
    """
    statements, further = read_statements(text), read_statements(details)
    known = any(not math.isnan(value) for value in labels.values())
    findings: dict[str, State] = {}
    denied = []
    for label in DESCRIBED:
        statement, value = statements.get(label, _NOTHING), labels.get(label, math.nan)
        if not statement.is_present and (known or label not in statements):
            statement = further.get(label, statement)
        elif statement.severities == {WHOLE: 0} and not statement.uncertain and label in further:
            statement = Statement(further[label].severities or {WHOLE: 0}, set(), statement.trends)
        present = value in (1, -1) if known else statement.is_present
        if present:
            uncertain = value == -1 if known else statement.uncertain
            severities = dict(statement.severities) or {WHOLE: 0}
            findings[label] = State(severities, uncertain, dict(statement.trends))
        elif value == 0 if known else bool(statement.denied):
            denied.append(label)
    is_explained = bool(findings.keys() & {"Atelectasis", "Consolidation", "Edema", "Pneumonia"})
    explained = findings.pop("Lung Opacity", None) if is_explained else None  # the others appear as an opacity
    has_devices = labels.get("Support Devices") == 1 if known else None
    devices = read_devices(text if known else f"{text}\n{details}")
    is_silent = not known and not CLEAR.search(f"{text}\n{details}".lower())
    passed_over = [label for label in DESCRIBED if is_silent and label not in findings and label not in denied]
    if explained and "Lung Opacity" not in passed_over:
        passed_over.append("Lung Opacity")
    labels_only = known and not text.strip() and not details.strip()
    if labels_only:
        further_labels = [label for label in DESCRIBED_FROM_LABELS if labels.get(label) in (1, -1)]
        findings |= {label: State({WHOLE: 0}, labels[label] == -1) for label in further_labels}
    is_normal = not labels_only or labels.get("No Finding") == 1
    return StudyState(findings, tuple(denied), tuple(devices), has_devices, tuple(passed_over), labels_only, is_normal)


def compare_states(prior: StudyState, new: StudyState) -> list[Change]:
    """List the change of each finding, for each side if both studies name sides."""
    changes: list[Change] = []
    for label in (*DESCRIBED, *(DESCRIBED_FROM_LABELS if prior.labels_only and new.labels_only else ())):
        if label in new.passed_over:
            continue
        changes += _compare_finding(label, prior.findings.get(label), new.findings.get(label))
    return changes


def _compare_finding(label: str, prior: State | None, new: State | None) -> list[Change]:
    if new is None:
        if prior is None:
            return []
        return [Change(label, "absent" if prior.uncertain else "resolved", prior.severities)]
    if new.uncertain:
        return [Change(label, "possible", new.severities)]
    if prior is None:
        return [Change(label, "new", new.severities)]
    kinds: dict[str, dict[str, int]] = {}
    for side, kind in _compare_sides(prior, new).items():
        severity = prior.severities[side] if kind == "resolved" else new.severities[side]
        kinds.setdefault(kind, {})[side] = severity
    return [Change(label, kind, kinds[kind]) for kind in KINDS if kind in kinds]


def _compare_sides(prior: State, new: State) -> dict[str, str]:
    """Side → kind, for a finding that is present in both studies."""
    if WHOLE in prior.severities or WHOLE in new.severities:  # a side is unknown: compare the finding as a whole
        before, now = max(prior.severities.values()), max(new.severities.values())
        trend = next(iter(new.trends.values()), "")
        return dict.fromkeys(new.severities, _compare_severity(before, now, trend))
    kinds = {side: "resolved" for side in prior.severities if side not in new.severities}
    for side, now in new.severities.items():
        if side not in prior.severities:
            kinds[side] = "new"
        else:
            kinds[side] = _compare_severity(prior.severities[side], now, new.trends.get(side, ""))
    return kinds


def _compare_severity(before: int, now: int, trend: str) -> str:
    if before and now and before != now:
        return "worse" if now > before else "better"
    return trend or "same"  # of equal or unknown severity: the trend that the report states
