"""The phantom: a rendered cohort of patients with a known truth, including true counterfactuals."""

from biomedjourney_monai.phantom.findings import Devices, FindingState
from biomedjourney_monai.phantom.patients import Patient, Visit, draw_patient
from biomedjourney_monai.phantom.truth import render_counterfactual, render_visit

__all__ = ["Devices", "FindingState", "Patient", "Visit", "draw_patient", "render_counterfactual", "render_visit"]
