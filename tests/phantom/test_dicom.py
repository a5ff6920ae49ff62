"""Reads the files back through pydicom's own LUT functions."""

import io
from collections import Counter

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from biomedjourney_monai.phantom.dicom import (
    _VIEW_CODES,
    BITS_STORED,
    TRANSFER_SYNTAXES,
    VOI_KINDS,
    draw_form,
    encode_dicom,
)
from biomedjourney_monai.phantom.faults import PlannedImage, plant_faults
from biomedjourney_monai.phantom.patients import draw_patient

PIXELS = (np.add.outer(np.linspace(0, 1, 40), np.linspace(0, 1, 32)) / 2).astype(np.float32)


@pytest.fixture(scope="module")
def written():
    """Patient, visit, planned image, form and data set of 150 images."""
    written = []
    for index in range(45):
        untidy = plant_faults(draw_patient(6, index), 6, rates={"lateral": 0.2})
        for visit, images in zip(untidy.patient.visits, untidy.images):
            for image in images:
                encoded = encode_dicom(PIXELS, untidy.patient, visit, image, seed=6)
                dataset = pydicom.dcmread(io.BytesIO(encoded))
                written.append((untidy.patient, visit, image, draw_form(6, image.dicom_id), dataset))
    return written


def display(dataset):
    """Rescale, VOI, inversion → [0, 1]."""
    values = apply_modality_lut(dataset.pixel_array, dataset)
    top = 2.0**dataset.BitsStored - 1
    low, high = 0.0, top
    if "VOILUTSequence" in dataset or "WindowWidth" in dataset:
        values = apply_voi_lut(values, dataset)
    if "VOILUTSequence" in dataset:
        high = 65535.0
    elif "RescaleSlope" in dataset:
        low = float(dataset.RescaleIntercept)
        high = top * float(dataset.RescaleSlope) + low
    values = (values - low) / (high - low)
    return 1 - values if dataset.PhotometricInterpretation == "MONOCHROME1" else values


def test_the_displayed_image_is_the_one_put_in(written):
    for *_, form, dataset in written:
        assert np.abs(display(dataset) - PIXELS).max() < 0.01, form


def test_every_kind_occurs(written):
    forms = [form for *_, form, _ in written]
    assert {form.transfer_syntax for form in forms} == set(TRANSFER_SYNTAXES)
    assert {form.bits for form in forms} == set(BITS_STORED)
    assert {form.voi for form in forms} == set(VOI_KINDS)
    assert {form.modality for form in forms} == {"DX", "CR"}
    assert {form.is_monochrome1 for form in forms} == {True, False}
    assert {form.slope for form in forms} == {1.0, 2.0}


def test_tags_say_what_the_tables_say(written):
    for patient, visit, image, _, dataset in written:
        assert dataset.PatientID == str(patient.subject_id) and dataset.PatientSex == patient.sex
        assert dataset.StudyDate == f"{visit.time:%Y%m%d}"
        age = patient.anchor_age + visit.time.year - patient.anchor_year
        assert dataset.PatientAge == (f"{age:03d}Y" if age < 90 else "091Y")
        assert dataset.ViewCodeSequence[0].CodeMeaning == image.recorded_code
        assert dataset.PatientOrientation == (["A", "F"] if image.view_position == "LATERAL" else ["L", "F"])
        assert dataset[0x0008001C].value == "YES"


def test_images_of_a_study_share_its_uid_and_nothing_else(written):
    images = Counter(dataset.SOPInstanceUID for *_, dataset in written)
    assert max(images.values()) == 1
    studies = {dataset.StudyInstanceUID: visit.study_id for _, visit, _, _, dataset in written}
    assert len(studies) == len(set(studies.values())) < len(written)
    assert all(dataset.SOPInstanceUID.is_valid for *_, dataset in written)


def test_the_same_image_gives_the_same_bytes():
    patient = draw_patient(6, 0)
    planned = plant_faults(patient, 6, rates={}).images[0][0]
    first, second = (encode_dicom(PIXELS, patient, patient.visits[0], planned, seed=6) for _ in range(2))
    assert first == second


def damaged(damage):
    return PlannedImage("a" * 8, "PA", "PA", "postero-anterior", 500, damage)


def test_damage_shows():
    patient = draw_patient(6, 0)
    sound, cut = (len(encode_dicom(PIXELS, patient, patient.visits[0], damaged(d), seed=6)) for d in ("", "truncated"))
    assert cut < 0.7 * sound
    inverted = encode_dicom(PIXELS, patient, patient.visits[0], damaged("inverted"), seed=6)
    assert np.abs(display(pydicom.dcmread(io.BytesIO(inverted))) - (1 - PIXELS)).max() < 0.01


def test_view_codes_are_those_of_context_group_4010():
    from pydicom.sr.codedict import codes

    group = codes.CID4010
    assert _VIEW_CODES["postero-anterior"][0] == group.PosteroAnterior.value
    assert _VIEW_CODES["antero-posterior"][0] == group.AnteroPosterior.value
    assert _VIEW_CODES["lateral"][0] == group.LateralProjection.value
