"""Rendered patients to try the web page on."""

from __future__ import annotations

EXAMPLES = (
    ("No finding", 0, {}),
    ("Moderate left effusion", 4, {"effusion_left": 2}),
    ("Severe cardiomegaly", 2, {"cardiomegaly": 3}),
)
"""Rendered patients to try the page on: caption, running number, findings."""

EXAMPLE_SIZE = 512


def render_example(number: int) -> bytes:
    """A rendered patient, 8-bit PNG; the same bytes every time."""
    from biomedjourney_monai.phantom.findings import FindingState
    from biomedjourney_monai.phantom.patients import draw_patient
    from biomedjourney_monai.phantom.truth import render_counterfactual
    from biomedjourney_monai.radiographs.write.png import png_bytes

    caption, index, state = EXAMPLES[number]
    patient = draw_patient(7, index, stream="web page")
    rendering = render_counterfactual(
        patient, patient.visits[0], FindingState(**state), size=EXAMPLE_SIZE, view_position="PA"
    )
    return png_bytes(rendering.image, metadata={"Comment": f"rendered patient, nobody's: {caption}"})
