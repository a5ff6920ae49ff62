from dataclasses import replace

import numpy as np
import pytest

from biomedjourney_monai.phantom import FindingState, draw_patient, render_counterfactual, render_visit
from biomedjourney_monai.phantom.truth import anatomy_of

SIZE = 96


@pytest.fixture(scope="module")
def patient_and_visit():
    patient = draw_patient(2, 4)
    return patient, replace(patient.visits[0], view_position="PA")


def test_with_the_visits_own_findings_it_is_the_visits_image(patient_and_visit):
    patient, visit = patient_and_visit
    rendered = render_visit(patient, visit, size=SIZE)
    same = render_counterfactual(patient, visit, visit.findings, size=SIZE, anatomy=anatomy_of(patient))
    assert np.array_equal(rendered.image, same.image)


def test_only_the_side_of_the_new_finding_changes(patient_and_visit):
    patient, visit = patient_and_visit
    none = render_counterfactual(patient, visit, FindingState(), size=SIZE).image
    effusion = render_counterfactual(patient, visit, FindingState(effusion_left=3), size=SIZE).image
    change = np.abs(effusion - none)
    assert change[:, SIZE // 2 :].mean() > 5 * change[:, : SIZE // 2].mean()  # the patient's left is image right


def test_masks_come_on_request(patient_and_visit):
    patient, visit = patient_and_visit
    masks = render_counterfactual(patient, visit, FindingState(), size=SIZE, with_masks=True).masks
    assert masks.shape == (6, SIZE, SIZE) and masks.dtype == np.uint8 and set(np.unique(masks)) == {0, 1}
    assert render_visit(patient, visit, size=SIZE).masks is None


def test_visits_of_a_patient_share_the_anatomy(patient_and_visit):
    patient, _ = patient_and_visit
    other = draw_patient(2, 5)
    assert anatomy_of(patient) == anatomy_of(replace(patient, visits=patient.visits[:1]))
    assert anatomy_of(patient) != anatomy_of(other)
