"""Draw a rendered film of 1024 pixels and its counterfactual, enlarged and with detail transfer, for the documentation.

    python scripts/full_size_picture.py --out bundle/docs/full-size.jpg

Above: the prior, the model's picture enlarged, and the film with the model's change. Below: a part of each at the
film's own size. The patient has sternal wires and a pacemaker, and is nobody's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from biomedjourney_monai import load_model
from biomedjourney_monai.files import written_atomically
from biomedjourney_monai.generation.detail import NONE, TRANSFER
from biomedjourney_monai.generation.finish import finished_picture, full_size_prior
from biomedjourney_monai.generation.prior import Prior, read_prior
from biomedjourney_monai.phantom.findings import Devices, FindingState
from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.truth import render_counterfactual
from biomedjourney_monai.radiographs.marking import mark_synthetic

PATIENT, SEED, SIZE = 4, 0, 1024
TEXT = "New large left pleural effusion."
CUT = slice(400, 760), slice(480, 960)  # heart, wires, and the edge of the effusion
SHOWN = 480


def render_prior(size: int) -> Prior:
    """A film without findings, of a patient with devices, as a model of this size reads it."""
    patient = draw_patient(7, PATIENT, stream="web page")
    visit = replace(patient.visits[0], devices=Devices(pacemaker=True, wires=True))
    film = render_counterfactual(patient, visit, FindingState(), size=SIZE, view_position="PA").image
    return read_prior(np.rint(film * 255).astype(np.uint8), size=size)


def join(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """The pictures side by side, and below a part of each, uint8."""
    whole = np.hstack([cv2.resize(picture, (SHOWN, SHOWN), interpolation=cv2.INTER_AREA) for picture in pictures])
    parts = np.hstack([picture[CUT] for picture in pictures])
    return np.rint(np.clip(np.vstack([whole, parts]), 0, 1) * 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a JPEG file")
    args = parser.parse_args()
    model = load_model()
    prior = render_prior(model.size)
    (square,) = model.generate(prior, TEXT, seed=SEED).squares
    film = mark_synthetic(full_size_prior(prior), text="PRIOR")
    made = [finished_picture(square, prior, detail=detail) for detail in (NONE, TRANSFER)]
    with written_atomically(args.out) as part:
        Image.fromarray(join([film, *made])).save(part, "JPEG", quality=88)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
