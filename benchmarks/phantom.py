"""How fast the phantom renders, writes and lists: `python benchmarks/phantom.py`.

Prints images per second of one core at 256 px (the bar is 15), the time for tables of MIMIC-CXR-JPG's length (the bar
is 60 s), and the peak of memory while a cohort is written. Times are of the processor, so other work does not count.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import cv2

from biomedjourney_monai.phantom.cohort import write_cohort
from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.tables_only import MIMIC_IMAGES, write_tables_only
from biomedjourney_monai.phantom.truth import anatomy_of, render_visit

RENDER_BAR_PER_SECOND = 15.0
TABLES_BAR_SECONDS = 60.0


def main() -> None:
    """Run the three measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=30, help="patients to render (default 30)")
    parser.add_argument("--images", type=int, default=MIMIC_IMAGES, help=f"images to list (default {MIMIC_IMAGES})")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rate, count = measure_rendering(arguments.patients)
    times = rate / RENDER_BAR_PER_SECOND
    print(f"render, 256 px: {rate:.1f} images/s per core over {count} images = {times:.2f} x the bar")
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        summary = write_cohort(Path(folder) / "cohort", patients=arguments.patients, seed=1, processes=1)
        seconds = time.process_time() - started
        print(f"cohort on disk: {summary.images / seconds:.1f} images/s per core with reports and tables")
        started = time.process_time()
        listed = write_tables_only(Path(folder) / "tables", images=arguments.images, seed=1, processes=1)
        seconds = time.process_time() - started
        times = seconds / TABLES_BAR_SECONDS
        print(f"tables: {listed.images} images in {seconds:.1f} s on one core = {times:.2f} x the bar")
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def measure_rendering(patients: int) -> tuple[float, int]:
    """Return images per second of one core, anatomies included, and the number of images."""
    drawn = [draw_patient(1, index) for index in range(patients)]
    render_visit(drawn[0], drawn[0].visits[0], size=256)  # what is done once per process
    started, count = time.process_time(), 0
    for patient in drawn:
        anatomy = anatomy_of(patient)
        for visit in patient.visits:
            render_visit(patient, visit, size=256, anatomy=anatomy)
            count += 1
    return count / (time.process_time() - started), count


if __name__ == "__main__":
    main()
