"""Age and race of the patients by split, as in the paper's Fig. 7."""

from dataclasses import dataclass

import numpy as np
import pandas

from biomedjourney_monai.evaluation.metrics.labels import RACE_GROUPS, race_group
from biomedjourney_monai.schema import SPLITS

YOUNGEST, OLDEST = 20, 80
"""Years below which, and from which on, patients are not told apart by decade."""

UNKNOWN = "other or unknown"


@dataclass(frozen=True)
class Distribution:
    """Shares of the patients of each split.

    Attributes:
        attribute: "age" or "race".
        patients: by split.
        shares: by group, one for each split, in [0, 1].
    """

    attribute: str
    patients: dict[str, int]
    shares: dict[str, list[float]]


def count_people(pairs: pandas.DataFrame) -> list[Distribution]:
    """The distributions of a table of journeys; none of an attribute that no patient has.

    Args:
        pairs: with subject_id, split, anchor_age (years) and race; a patient counts once in a split.
    """
    people = pairs.drop_duplicates(["split", "subject_id"])
    splits = [split for split in SPLITS if split in set(people["split"])]
    patients = {split: int((people["split"] == split).sum()) for split in splits}
    groups = [race_group(name) for name in people["race"]]
    named = {"age": [_decade(age) for age in people["anchor_age"].astype(float)]}
    named["race"] = [UNKNOWN if group is None else RACE_GROUPS[group] for group in groups]
    orders = {"age": [_decade(age) for age in range(YOUNGEST - 1, OLDEST + 1)] + [UNKNOWN]}
    orders["race"] = [*RACE_GROUPS, UNKNOWN]
    found = []
    for attribute, own in named.items():
        if set(own) <= {UNKNOWN}:
            continue
        table = pandas.crosstab(pandas.Series(own, name="group"), people["split"].to_numpy(), normalize="columns")
        rows = [group for group in dict.fromkeys(orders[attribute]) if group in table.index]
        shares = dict(zip(rows, table.loc[rows, splits].to_numpy().tolist()))
        found.append(Distribution(attribute, patients, shares))
    return found


def _decade(age: float) -> str:
    if np.isnan(age):
        return UNKNOWN
    if age < YOUNGEST:
        return f"under {YOUNGEST}"
    if age >= OLDEST:
        return f"{OLDEST} and over"
    first = int(age) // 10 * 10
    return f"{first} to {first + 9}"
