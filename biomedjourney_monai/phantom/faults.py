"""The errors of an archive: planted at stated small rates, and listed, so that preparation can be scored."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from biomedjourney_monai.phantom.patients import RACES, Patient, Visit
from biomedjourney_monai.phantom.seeds import derive_rng, derive_seed

FAULT_RATES: Mapping[str, float] = {
    "second_pa": 0.03,  # of PA studies: one more PA image
    "lateral": 0.12,  # of studies: also a lateral image, labelled correctly
    "lateral_as_pa": 0.006,  # of PA studies: also a lateral image, labelled PA
    "pa_as_lateral": 0.004,  # of PA studies: labelled LATERAL
    "ap_as_pa": 0.10,  # of AP studies: labelled PA
    "view_empty": 0.02,  # of images: ViewPosition empty, ViewCodeSequence filled
    "inverted": 0.006,  # of studies: grey levels inverted
    "truncated": 0.005,  # of studies: the file ends early
    "missing_report": 0.008,  # of studies
    "same_day": 0.02,  # of later studies: on the same day as the one before
    "race_conflict": 0.02,  # of patients: one admission of three with another race
    "race_unknown": 0.015,  # of patients
    "no_admission": 0.015,  # of patients
}
"""Probability of each planted fault. AP studies and patients with one study are also listed; `patients` draws them."""

VIEW_CODES = {"PA": "postero-anterior", "AP": "antero-posterior", "LATERAL": "lateral"}
UNKNOWN_RACES = ("UNKNOWN", "UNABLE TO OBTAIN", "PATIENT DECLINED TO ANSWER")


@dataclass(frozen=True)
class PlannedImage:
    """One file to be rendered. `damage` is "", "inverted" or "truncated"."""

    dicom_id: str
    view_position: str
    recorded_view: str
    recorded_code: str
    acquisition_seed: int
    damage: str = ""

    @property
    def is_recorded_pa(self) -> bool:
        """Whether the tables call this image PA, correctly or not, so that it may become a prior image."""
        return self.recorded_code == VIEW_CODES["PA"]


@dataclass(frozen=True)
class Planted:
    """One row of planted.csv."""

    fault: str
    subject_id: int
    study_id: int | None = None
    dicom_id: str = ""
    detail: str = ""


@dataclass(frozen=True)
class UntidyPatient:
    """A patient as the archive stores them.

    Args:
        patient: with the times of the archive.
        images: per visit, the images of the study.
        missing_reports: study_ids without a report.
        races: the race of each admission.
        planted: the faults.
    """

    patient: Patient
    images: tuple[tuple[PlannedImage, ...], ...]
    missing_reports: frozenset[int]
    races: tuple[str, ...]
    planted: tuple[Planted, ...]


def plant_faults(patient: Patient, seed: int, *, rates: Mapping[str, float] = FAULT_RATES) -> UntidyPatient:
    """Plan a patient's files and faults, for the cohort's seed; a fault without a rate never happens."""
    rng = derive_rng(seed, "faults", patient.subject_id)
    planter = _Planter(patient, rng, rates)
    patient = replace(patient, visits=planter.bring_days_together())
    images = tuple(planter.plan_images(visit, seed) for visit in patient.visits)
    missing = frozenset(visit.study_id for visit in patient.visits if planter.hits("missing_report"))
    for study_id in missing:
        planter.note("missing_report", study_id)
    races = planter.draw_races()
    if len(patient.visits) == 1:
        planter.note("single_study", patient.visits[0].study_id)
    return UntidyPatient(patient, images, missing, races, tuple(planter.planted))


class _Planter:
    """Draws faults of one patient and notes them."""

    def __init__(self, patient: Patient, rng: np.random.Generator, rates: Mapping[str, float]) -> None:
        self.patient, self.rng, self.rates = patient, rng, rates
        self.planted: list[Planted] = []

    def hits(self, fault: str) -> bool:
        return bool(self.rng.random() < self.rates.get(fault, 0.0))

    def note(self, fault: str, study_id: int | None = None, dicom_id: str = "", detail: str = "") -> None:
        self.planted.append(Planted(fault, self.patient.subject_id, study_id, dicom_id, detail))

    def bring_days_together(self) -> tuple[Visit, ...]:
        visits = [self.patient.visits[0]]
        for visit in self.patient.visits[1:]:
            if self.hits("same_day"):
                before = visits[-1].time
                midnight = before.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
                left_seconds = (midnight - before).total_seconds()
                visit = replace(visit, time=before + timedelta(seconds=int(left_seconds * self.rng.uniform(0.2, 0.8))))
                self.note("same_day", visit.study_id)
            visits.append(visit)
        return tuple(visits)

    def plan_images(self, visit: Visit, seed: int) -> tuple[PlannedImage, ...]:
        """Plan the study's images, the main one first."""
        views = [(visit.view_position, visit.view_position)]  # true, recorded
        if visit.view_position == "AP":
            self.note("ap_study", visit.study_id, _dicom_id(seed, visit.study_id, 0))
            if self.hits("ap_as_pa"):
                views[0] = ("AP", "PA")
        else:
            if self.hits("pa_as_lateral"):
                views[0] = ("PA", "LATERAL")
            if self.hits("second_pa"):
                views.append(("PA", "PA"))
            if self.hits("lateral_as_pa"):
                views.append(("LATERAL", "PA"))
        if self.hits("lateral"):
            views.append(("LATERAL", "LATERAL"))
        damaged = "truncated" if self.hits("truncated") else "inverted" if self.hits("inverted") else ""
        return tuple(
            self._plan_image(visit, seed, place, *view, damage=damaged if place == 0 else "")
            for place, view in enumerate(views)
        )

    def _plan_image(
        self, visit: Visit, seed: int, place: int, view: str, recorded: str, *, damage: str
    ) -> PlannedImage:
        dicom_id = _dicom_id(seed, visit.study_id, place)
        if view != recorded:
            self.note(f"{view.lower()}_as_{recorded.lower()}", visit.study_id, dicom_id)
        elif place:
            self.note("second_pa" if view == "PA" else "lateral", visit.study_id, dicom_id)
        if damage:
            self.note(damage, visit.study_id, dicom_id)
        is_empty = self.hits("view_empty")
        if is_empty:
            self.note("view_empty", visit.study_id, dicom_id, detail=f"ViewCodeSequence {VIEW_CODES[recorded]}")
        acquisition = derive_seed(visit.acquisition_seed, "image", place) if place else visit.acquisition_seed
        return PlannedImage(dicom_id, view, "" if is_empty else recorded, VIEW_CODES[recorded], acquisition, damage)

    def draw_races(self) -> tuple[str, ...]:
        """Draw the race of each admission; where they differ, the patient's own is the most frequent."""
        true = self.patient.race
        if self.hits("no_admission"):
            self.note("no_admission")
            return ()
        if self.hits("race_unknown"):
            race = UNKNOWN_RACES[int(self.rng.integers(len(UNKNOWN_RACES)))]
            self.note("race_unknown", detail=race)
            return (race,)
        if self.hits("race_conflict"):
            other = RACES[(self.patient.group + 1 + int(self.rng.integers(2))) % 3][0][0]
            self.note("race_conflict", detail=f"{other}, mostly {true}")
            races = [true, true, true]
            races[int(self.rng.integers(3))] = other
            return tuple(races)
        return (true,) * (1 + int(self.rng.integers(3)))


def _dicom_id(seed: int, study_id: int, place: int) -> str:
    """Return an identifier in MIMIC-CXR's form: five groups of eight hexadecimal digits."""
    digits = hashlib.blake2b(f"{seed}/dicom/{study_id}/{place}".encode(), digest_size=20).hexdigest()
    return "-".join(digits[start : start + 8] for start in range(0, 40, 8))
