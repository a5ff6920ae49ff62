from collections import Counter

import numpy as np
import pytest

from biomedjourney_monai.phantom.patients import MAX_VISITS, draw_patient


@pytest.fixture(scope="module")
def patients():
    return [draw_patient(3, index) for index in range(1500)]


def test_identifiers_are_unique_and_formed_as_mimic_has_them(patients):
    subjects = [patient.subject_id for patient in patients]
    studies = [visit.study_id for patient in patients for visit in patient.visits]
    assert len(set(subjects)) == len(subjects) and len(set(studies)) == len(studies)
    assert all(10_000_000 <= subject < 20_000_000 for subject in subjects)
    assert all(50_000_000 <= study < 60_000_000 for study in studies)


def test_subjects_fill_p10_to_p19_evenly(patients):
    assert Counter(patient.subject_id // 1_000_000 for patient in patients) == dict.fromkeys(range(10, 20), 150)


def test_p19_is_the_test_split(patients):
    for patient in patients:
        assert (patient.split == "test") == (patient.subject_id // 1_000_000 == 19)
    assert {patient.split for patient in patients[:10]} == {"train", "validate", "test"}


def test_study_ids_do_not_follow_time(patients):
    rises = [later.study_id > earlier.study_id for p in patients for earlier, later in zip(p.visits, p.visits[1:])]
    assert 0.46 < np.mean(rises) < 0.54


def test_visits_are_in_order_of_time(patients):
    for patient in patients:
        times = [visit.time for visit in patient.visits]
        assert times == sorted(times) and len(set(times)) == len(times)
        assert 1 <= len(times) <= MAX_VISITS


def test_race_tells_the_group(patients):
    starts = {0: "WHITE", 1: "BLACK", 2: "ASIAN"}
    assert all(patient.race.startswith(starts[patient.group]) for patient in patients)
    assert {patient.group for patient in patients} == {0, 1, 2}


def test_ages_are_stored_as_mimic_stores_them(patients):
    ages = {patient.anchor_age for patient in patients}
    assert min(ages) == 18 and max(ages) == 91 and 90 not in ages


def test_pacemaker_and_wires_stay(patients):
    for patient in patients:
        for earlier, later in zip(patient.visits, patient.visits[1:]):
            assert later.devices.pacemaker >= earlier.devices.pacemaker
            assert later.devices.wires >= earlier.devices.wires


def test_a_patient_depends_on_seed_index_and_stream_alone():
    assert draw_patient(3, 8) == draw_patient(3, 8)
    others = [draw_patient(4, 8), draw_patient(3, 9), draw_patient(3, 8, stream="labelled")]
    assert len({p.identity_seed for p in [draw_patient(3, 8), *others]}) == 4
