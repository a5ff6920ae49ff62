"""Patients and their visits: demographics, times and findings."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from biomedjourney_monai.phantom.disease import draw_course
from biomedjourney_monai.phantom.findings import Devices, FindingState
from biomedjourney_monai.phantom.mentions import Mentions, draw_mentions
from biomedjourney_monai.phantom.seeds import derive_rng, derive_seed, scatter_id

MAX_VISITS = 5
MAX_PATIENTS = 10**7 // MAX_VISITS

VISIT_COUNT_SHARES = (0.08, 0.24, 0.30, 0.22, 0.16)
"""Shares of patients with one to five visits."""

GROUP_SHARES = (0.46, 0.29, 0.25)

RACES: tuple[tuple[tuple[str, float], ...], ...] = (
    (("WHITE", 0.86), ("WHITE - OTHER EUROPEAN", 0.07), ("WHITE - RUSSIAN", 0.04), ("WHITE - EASTERN EUROPEAN", 0.03)),
    (
        *(("BLACK/AFRICAN AMERICAN", 0.80), ("BLACK/CAPE VERDEAN", 0.09)),
        *(("BLACK/CARIBBEAN ISLAND", 0.06), ("BLACK/AFRICAN", 0.05)),
    ),
    (("ASIAN", 0.42), ("ASIAN - CHINESE", 0.36), ("ASIAN - SOUTH EAST ASIAN", 0.14), ("ASIAN - ASIAN INDIAN", 0.08)),
)
"""MIMIC-IV's race strings with their shares, by demographic group 0, 1, 2."""

PORTABLE_SHARE = 0.06
"""Share of portable studies, AP."""

_PREFIXES = (3, 0, 7, 9, 5, 8, 1, 6, 2, 4)
"""Second digit of the subject_id, by running number: p10 to p19 fill evenly, and small cohorts reach p19."""

_TEST_PREFIX = 9


@dataclass(frozen=True)
class Visit:
    """One study: time, findings, acquisition and mentions in the report."""

    study_id: int
    time: datetime
    findings: FindingState
    devices: Devices
    acquisition_seed: int
    view_position: str
    mentions: Mentions


@dataclass(frozen=True)
class Patient:
    """One patient. `identity_seed` fixes the anatomy; `group` is the demographic group 0, 1 or 2."""

    subject_id: int
    sex: str
    anchor_age: int
    anchor_year: int
    race: str
    group: int
    split: str
    identity_seed: int
    visits: tuple[Visit, ...]


def draw_patient(seed: int, index: int, *, stream: str = "cohort") -> Patient:
    """Draw one patient; the same arguments give the same patient, independent of other draws.

    Args:
        seed: the cohort's seed.
        index: the patient's running number, in [0, `MAX_PATIENTS`).
        stream: name that separates cohorts of different purposes.

    Returns:
        A patient with one to five visits in order of time. Identifiers are random and unique within a cohort.
    """
    rng = derive_rng(seed, stream, "patient", index)
    group = _draw_index(rng, GROUP_SHARES)
    anchor_year = 2110 + int(rng.random() * 90)
    age = 18 + int(rng.random() * 73)  # years; over 89 is stored as 91
    prefix = _PREFIXES[index % 10]
    number = scatter_id(index // 10, key=derive_seed(seed, stream, "subject_id", prefix), digits=6)
    return Patient(
        subject_id=10_000_000 + prefix * 1_000_000 + number,
        sex="F" if rng.random() < 0.48 else "M",
        anchor_age=age if age <= 89 else 91,
        anchor_year=anchor_year,
        race=RACES[group][_draw_index(rng, [share for _, share in RACES[group]])][0],
        group=group,
        split=split_of(index),
        identity_seed=derive_seed(seed, stream, "identity", index),
        visits=_draw_visits(rng, seed, index, stream, anchor_year),
    )


def split_of(index: int) -> str:
    """Return the split of a patient: 10 % test, which are all of p19, and 5 % validate."""
    if _PREFIXES[index % 10] == _TEST_PREFIX:
        return "test"
    return "validate" if index % 20 == 7 else "train"


def _draw_visits(rng: np.random.Generator, seed: int, index: int, stream: str, anchor_year: int) -> tuple[Visit, ...]:
    count = 1 + _draw_index(rng, VISIT_COUNT_SHARES)
    times = _draw_times(rng, count, anchor_year)
    days = [(time - times[0]).total_seconds() / 86400 for time in times]
    course = draw_course(rng, days)
    devices = _draw_devices(rng, count)
    study_key = derive_seed(seed, stream, "study_id")
    visits = []
    for visit, (time, state) in enumerate(zip(times, course)):
        prior = course[visit - 1] if visit else None
        visits.append(
            Visit(
                study_id=50_000_000 + scatter_id(index * MAX_VISITS + visit, key=study_key, digits=7),
                time=time,
                findings=state,
                devices=devices[visit],
                acquisition_seed=derive_seed(seed, stream, "acquisition", index, visit),
                view_position="AP" if rng.random() < PORTABLE_SHARE else "PA",
                mentions=draw_mentions(rng, state, prior),
            )
        )
    return tuple(visits)


def _draw_times(rng: np.random.Generator, count: int, anchor_year: int) -> list[datetime]:
    """Draw visits in order of time: days, weeks or months apart, mostly in working hours."""
    time = datetime(anchor_year, 1, 1) + timedelta(days=int(rng.random() * 365))
    times = []
    for visit in range(count):
        if visit:
            scale_days = (3.0, 21.0, 180.0)[_draw_index(rng, (0.35, 0.35, 0.30))]
            time += timedelta(days=1 + int(rng.exponential(scale_days)))
        seconds = 86400 * min(max(rng.normal(13.0, 4.0), 0.1), 23.9) / 24
        times.append(time + timedelta(seconds=int(seconds), milliseconds=int(rng.random() * 1000)))
    return times


def _draw_devices(rng: np.random.Generator, count: int) -> list[Devices]:
    """Draw devices: pacemaker and wires stay once they are implanted, a tube may be removed again."""
    pacemaker_from, wires_from = (
        int(rng.random() * count * 1.5) if rng.random() < chance else count for chance in (0.07, 0.07)
    )
    return [
        Devices(pacemaker=visit >= pacemaker_from, tube=rng.random() < 0.03, wires=visit >= wires_from)
        for visit in range(count)
    ]


def _draw_index(rng: np.random.Generator, shares: tuple[float, ...] | list[float]) -> int:
    """Draw an index with the given probabilities, which add up to 1."""
    left = rng.random()
    for index, share in enumerate(shares):
        left -= share
        if left < 0:
            return index
    return len(shares) - 1
