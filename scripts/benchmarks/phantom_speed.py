"""Measure how many phantom radiographs one core renders per second.

    python scripts/benchmarks/phantom_speed.py

Every patient has three visits, as in a cohort, and the time of growing the patient's vessels is included. Processor
time of one thread is measured, so other work on the machine has little influence.
The last line is JSON: {"figures": {...}, "bars": {...}}.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np

from biomedjourney_monai.phantom.anatomy import Anatomy, draw_anatomy
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.physics import draw_acquisition
from biomedjourney_monai.phantom.render import render

VISITS = 3
BAR_IMAGES_PER_SECOND_256 = 15.0


def draw_patient(seed: int) -> Anatomy:
    """Draw one patient of the benchmark."""
    return draw_anatomy(seed, sex="FM"[seed % 2], age=25 + seed % 60, group=seed % 3)


def draw_findings(rng: np.random.Generator) -> FindingState:
    """Draw severities, about as common as in a cohort."""
    present = rng.random(8) < (0.16, 0.16, 0.35, 0.33, 0.2, 0.2, 0.12, 0.12)
    return FindingState(*(int(severity) for severity in present * rng.integers(1, 4, 8)))


def images_per_second(size: int, patients: int, *, with_masks: bool, view_position: str = "PA") -> float:
    """Render `patients` × 3 visits and return images per second of processor time."""
    rng = np.random.default_rng(0)

    def work() -> int:
        for seed in range(patients):
            anatomy = draw_patient(seed)
            for visit in range(VISITS):
                acquisition = draw_acquisition(VISITS * seed + visit, view_position=view_position)
                render(anatomy, acquisition, draw_findings(rng), size=size, with_masks=with_masks)
        return patients * VISITS

    return _rate(work)


def _rate(work: Callable[[], int]) -> float:
    start = time.process_time()
    count = work()
    return count / (time.process_time() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=20, help="patients per measurement, three images each")
    patients = parser.parse_args().patients
    cv2.setNumThreads(1)
    images_per_second(128, 2, with_masks=True)  # warm the tables
    figures = {
        "images_per_second_256": images_per_second(256, patients, with_masks=False),
        "images_per_second_256_with_masks": images_per_second(256, patients, with_masks=True),
        "images_per_second_128": images_per_second(128, patients, with_masks=False),
        "images_per_second_256_lateral": images_per_second(256, patients, with_masks=False, view_position="LATERAL"),
    }
    for name, value in figures.items():
        print(f"{name:36s} {value:7.1f} per core")
    bars = {
        "at least 15 images per second per core at 256 px": figures["images_per_second_256"]
        >= BAR_IMAGES_PER_SECOND_256
    }
    print(json.dumps({"figures": {k: round(v, 2) for k, v in figures.items()}, "bars": bars}))


if __name__ == "__main__":
    main()
