"""The true counterfactual: the same patient, the same visit, the same noise, with only the findings changed."""

from biomedjourney_monai.phantom.anatomy import Anatomy, draw_anatomy
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.patients import Patient, Visit
from biomedjourney_monai.phantom.physics import draw_acquisition
from biomedjourney_monai.phantom.render import Rendering, render


def anatomy_of(patient: Patient) -> Anatomy:
    """Draw the anatomy that all of a patient's visits share."""
    return draw_anatomy(patient.identity_seed, sex=patient.sex, age=float(patient.anchor_age), group=patient.group)


def render_visit(
    patient: Patient,
    visit: Visit,
    *,
    size: int,
    with_masks: bool = False,
    view_position: str | None = None,
    acquisition_seed: int | None = None,
    anatomy: Anatomy | None = None,
) -> Rendering:
    """Render the radiograph of a visit; arguments as for `render_counterfactual`."""
    return render_counterfactual(
        patient,
        visit,
        visit.findings,
        size=size,
        with_masks=with_masks,
        view_position=view_position,
        acquisition_seed=acquisition_seed,
        anatomy=anatomy,
    )


def render_counterfactual(
    patient: Patient,
    visit: Visit,
    findings: FindingState,
    *,
    size: int,
    with_masks: bool = False,
    view_position: str | None = None,
    acquisition_seed: int | None = None,
    anatomy: Anatomy | None = None,
) -> Rendering:
    """Render what a visit's radiograph would look like with other findings.

    Args:
        findings: of the patient instead; with the visit's own findings this is `render_visit`.
        size: rows and columns.
        with_masks: also return the masks of `schema.STRUCTURES`.
        view_position: another view than the visit's.
        acquisition_seed: another exposure than the visit's first.
        anatomy: `anatomy_of(patient)`, if already drawn.

    Returns:
        The rendering; geometry, exposure, noise and devices are the visit's.
    """
    seed = visit.acquisition_seed if acquisition_seed is None else acquisition_seed
    acquisition = draw_acquisition(seed, view_position=view_position or visit.view_position)
    anatomy = anatomy or anatomy_of(patient)
    return render(anatomy, acquisition, findings, devices=visit.devices, size=size, with_masks=with_masks)
