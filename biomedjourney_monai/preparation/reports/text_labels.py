"""CheXpert's 14 labels from a report's text, for sites without label tables."""

import math

from biomedjourney_monai.preparation.reports import vocabulary as words
from biomedjourney_monai.preparation.reports.statements import read_statements, says_something, split_sentences
from biomedjourney_monai.schema import CHEXPERT_LABELS

PRESENT, ABSENT, UNCERTAIN, UNMENTIONED = 1.0, 0.0, -1.0, math.nan


def read_labels(text: str) -> dict[str, float]:
    """Read the 14 labels in CheXpert's coding: 1 present, 0 absent, -1 uncertain, NaN not mentioned.

    Args:
        text: an impression, or the text that replaces it. A text that says nothing of a chest, such as "As above." or
            a report in another language, gives only NaN.

    Example:
        >>> labels = read_labels("Small left effusion. No pneumothorax.")
        >>> labels["Pleural Effusion"], labels["Pneumothorax"]
        (1.0, 0.0)
    """
    labels = dict.fromkeys(CHEXPERT_LABELS, UNMENTIONED)
    for label, statement in read_statements(text).items():
        labels[label] = (UNCERTAIN if statement.uncertain else PRESENT) if statement.is_present else ABSENT
    labels["Support Devices"] = _read_support_devices(text)
    findings = (value for label, value in labels.items() if label not in ("No Finding", "Support Devices"))
    if says_something(text) and not any(value in (PRESENT, UNCERTAIN) for value in findings):
        labels["No Finding"] = PRESENT
    return labels


def _read_support_devices(text: str) -> float:
    named = [sentence for sentence in split_sentences(text) if words.DEVICE.search(sentence)]
    if not named:
        return UNMENTIONED
    return ABSENT if all(words.DEVICE_GONE.search(sentence) for sentence in named) else PRESENT
