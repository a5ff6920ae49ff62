from collections import Counter

import pytest

from biomedjourney_monai.phantom.faults import FAULT_RATES, UNKNOWN_RACES, plant_faults
from biomedjourney_monai.phantom.patients import draw_patient


@pytest.fixture(scope="module")
def untidy():
    return [plant_faults(draw_patient(5, index), 5) for index in range(3000)]


def test_every_fault_occurs_at_about_its_rate(untidy):
    planted = Counter(row.fault for patient in untidy for row in patient.planted)
    visits = [visit for patient in untidy for visit in patient.patient.visits]
    pa, ap = (sum(visit.view_position == view for visit in visits) for view in ("PA", "AP"))
    images = sum(len(images) for patient in untidy for images in patient.images)
    of = {"second_pa": pa, "lateral_as_pa": pa, "pa_as_lateral": pa, "ap_as_pa": ap, "view_empty": images}
    of |= {"same_day": len(visits) - len(untidy)}
    of |= dict.fromkeys(("race_conflict", "race_unknown", "no_admission"), len(untidy))
    for fault, rate in FAULT_RATES.items():
        expected = rate * of.get(fault, len(visits))
        assert abs(planted[fault] - expected) < 4 * expected**0.5 + 3, fault
    assert planted["ap_study"] == ap


def test_without_rates_nothing_is_planted():
    clean = plant_faults(draw_patient(5, 1), 5, rates={})
    assert {row.fault for row in clean.planted} <= {"ap_study", "single_study"}
    assert all(len(images) == 1 and not images[0].damage for images in clean.images)


def test_what_is_planted_is_what_the_images_show(untidy):
    for patient in untidy:
        noted = {(row.fault, row.dicom_id) for row in patient.planted if row.dicom_id}
        for images in patient.images:
            for image in images:
                true, recorded = image.view_position.lower(), image.recorded_view.lower()
                assert (f"{true}_as_{recorded}", image.dicom_id) in noted or true == recorded or not recorded
                assert (("view_empty", image.dicom_id) in noted) == (not image.recorded_view)
                assert not image.damage or (image.damage, image.dicom_id) in noted


def test_same_day_studies_keep_their_order(untidy):
    same_day = 0
    for patient in untidy:
        moved = {row.study_id for row in patient.planted if row.fault == "same_day"}
        for earlier, later in zip(patient.patient.visits, patient.patient.visits[1:]):
            assert earlier.time < later.time
            if later.study_id in moved:
                assert earlier.time.date() == later.time.date()
                same_day += 1
    assert same_day > 50


def test_conflicting_races_leave_the_true_one_most_frequent(untidy):
    for patient in untidy:
        known = [race for race in patient.races if race not in UNKNOWN_RACES]
        if known:
            assert Counter(known).most_common(1)[0][0] == patient.patient.race


def test_dicom_ids_are_unique_and_formed_as_mimic_has_them(untidy):
    identifiers = [image.dicom_id for patient in untidy for images in patient.images for image in images]
    assert len(set(identifiers)) == len(identifiers)
    assert all([len(part) for part in name.split("-")] == [8] * 5 for name in identifiers)
