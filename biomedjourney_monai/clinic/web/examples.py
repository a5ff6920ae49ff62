"""Rendered patients to try the web page on."""

from __future__ import annotations

from biomedjourney_monai.phantom import FindingState, draw_patient, render_counterfactual
from biomedjourney_monai.radiographs.write.png import png_bytes

EXAMPLES = (
    ("No finding", 0, FindingState()),
    ("Moderate left effusion", 4, FindingState(effusion_left=2)),
    ("Severe cardiomegaly", 2, FindingState(cardiomegaly=3)),
)
"""Caption, running number of the patient, findings."""

EXAMPLE_SIZE = 512


def render_example(number: int) -> bytes:
    """A rendered patient, 8-bit PNG; the same bytes every time."""
    caption, index, state = EXAMPLES[number]
    patient = draw_patient(7, index, stream="web page")
    rendering = render_counterfactual(patient, patient.visits[0], state, size=EXAMPLE_SIZE, view_position="PA")
    return png_bytes(rendering.image, metadata={"Comment": f"rendered patient, nobody's: {caption}"})
