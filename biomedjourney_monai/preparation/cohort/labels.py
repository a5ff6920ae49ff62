"""Labels of studies from their reports, for sources without label tables, and the policy for uncertain labels."""

from collections.abc import Sequence

import pandas as pd

from biomedjourney_monai.preparation.parallel import ALONE, Workers, map_in_processes
from biomedjourney_monai.preparation.reports.sections import read_report
from biomedjourney_monai.preparation.reports.text_labels import read_labels
from biomedjourney_monai.schema import CHEXPERT_LABELS

UNCERTAIN = ("mask", "zeros", "ones")


def read_study_labels(report_paths: Sequence[str], workers: Workers = ALONE) -> pd.DataFrame:
    """Read the 14 labels from reports, one path per study, "" if there is no report.

    Returns:
        One row per study in the same order, the 14 labels as float32 in {1, 0, -1, NaN}; all NaN without a report.
    """
    rows = map_in_processes(_read_one, list(report_paths), title="labels", unit="reports", **vars(workers))
    return pd.DataFrame(list(rows), columns=list(CHEXPERT_LABELS), dtype="float32")


def apply_uncertain(labels: pd.DataFrame, policy: str) -> pd.DataFrame:
    """Replace -1 in the label columns: "mask" leaves it, which metrics leave out; "zeros" and "ones" replace it."""
    if policy == "mask":
        return labels
    columns = list(CHEXPERT_LABELS)
    decided = labels[columns].mask(labels[columns] == -1, 1.0 if policy == "ones" else 0.0)
    return labels.assign(**{column: decided[column] for column in columns})


def _read_one(path: str) -> list[float]:
    report = read_report(path)
    labels = read_labels(f"{report.summary}\n{report.addendum}".strip())
    return [labels[label] for label in CHEXPERT_LABELS]
