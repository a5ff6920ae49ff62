"""Measure how well the view check separates frontal chests from the rest, on rendered and, if given, real images.

    python scripts/benchmarks/view_check.py --patients 60
    python scripts/benchmarks/view_check.py --real FOLDER
    python scripts/benchmarks/view_check.py --write-templates

FOLDER holds studies.csv, with the columns filename and view_position, and images/. --write-templates draws the two
templates of the check from 150 rendered patients that no cohort has: the same file every time.
"""

import argparse
import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.truth import render_visit
from biomedjourney_monai.radiographs import load_with_content, save_png
from biomedjourney_monai.radiographs.views import check as views

TEMPLATE_PATIENTS, TEMPLATE_SEED, TEMPLATE_SIZE = 150, 0, 128
FRONTAL, LATERAL = ("PA", "AP"), ("LATERAL",)


def render(kinds: tuple[str, ...], patients: int, *, stream: str, size: int = TEMPLATE_SIZE) -> Iterator[np.ndarray]:
    """Yield rendered images of some views, one of each patient and view."""
    for index in tqdm(range(patients), desc="/".join(kinds), unit="patient", mininterval=2):
        patient = draw_patient(TEMPLATE_SEED, index, stream=stream)
        for kind in kinds:
            yield render_visit(patient, patient.visits[0], size=size, view_position=kind).image


def draw_templates(patients: int = TEMPLATE_PATIENTS) -> np.ndarray:
    """Draw the mean frontal and the mean lateral side by side, float32 in [0, 1], shape (64, 128)."""
    sides = [views.make_template(render(kinds, patients, stream="view templates")) for kinds in (FRONTAL, LATERAL)]
    return np.concatenate(sides, axis=1)


def read_real(folder: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Read the frontal and the lateral images of a folder, each letterboxed at 256 px."""
    with (folder / "studies.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    frontal, lateral = [], []
    for row in rows:
        image, _ = load_with_content(folder / "images" / row["filename"], size=256)
        (lateral if row["view_position"].upper() in ("LATERAL", "LL", "RL") else frontal).append(image)
    return frontal, lateral


def measure(frontal: list[np.ndarray], lateral: list[np.ndarray]) -> dict[str, float]:
    """Which shares are kept and refused, each for its own reason."""
    content = [views.crop_to_content(image) for image in frontal]
    found = {
        "frontal_kept": [views.check_view(image).reason == "" for image in frontal],
        "lateral_refused": [views.check_view(image).reason != "" for image in lateral],
        "inverted_found": [views.check_view(1 - image).reason == "inverted" for image in content],
        "rotated_found": [
            views.check_view(np.rot90(i, turns)).reason == "rotated" for i in frontal for turns in (1, 2, 3)
        ],
        "mirrored_found": [views.check_view(np.fliplr(i), mirror=True).reason == "mirrored" for i in frontal],
        "wrongly_called_mirrored": [views.check_view(image, mirror=True).reason == "mirrored" for image in frontal],
    }
    figures = {name: round(float(np.mean(hits)), 3) for name, hits in found.items()}
    return {"frontal": len(frontal), "lateral": len(lateral), **figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=60, help="rendered patients to measure on (default: 60)")
    parser.add_argument("--real", type=Path, help="folder of real radiographs with studies.csv and images/")
    parser.add_argument("--write-templates", action="store_true", help="draw the templates again and write them")
    parser.add_argument("--out", type=Path, default=Path(views.__file__).with_name(views.TEMPLATES_FILE))
    args = parser.parse_args()
    if args.write_templates:
        save_png(args.out, draw_templates())
    frontal = list(render(FRONTAL, args.patients, stream="view check"))
    figures = {"phantom": measure(frontal, list(render(LATERAL, args.patients, stream="view check")))}
    if args.real:
        figures["real"] = measure(*read_real(args.real))
    for name, numbers in figures.items():
        print(name, *(f"{key} {value}" for key, value in numbers.items()), sep="  ")
    bars = {f"{name}: laterals refused": numbers["lateral_refused"] == 1 for name, numbers in figures.items()}
    bars |= {f"{name}: frontals kept": numbers["frontal_kept"] >= 0.95 for name, numbers in figures.items()}
    bars |= {f"{name}: inverted found": numbers["inverted_found"] >= 0.95 for name, numbers in figures.items()}
    print(json.dumps({"figures": figures, "bars": bars}))


if __name__ == "__main__":
    main()
