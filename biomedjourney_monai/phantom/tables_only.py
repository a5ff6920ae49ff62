"""Tables of any length without images: a load test for their readers."""

from math import ceil
from pathlib import Path

from tqdm import tqdm

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.phantom.cohort import CohortSummary, claim_folder
from biomedjourney_monai.phantom.faults import FAULT_RATES, plant_faults
from biomedjourney_monai.phantom.parallel import map_in_order
from biomedjourney_monai.phantom.patients import MAX_PATIENTS, draw_patient
from biomedjourney_monai.phantom.tables import TableRows, list_rows, write_tables

MIMIC_IMAGES = 377_110
"""Number of images of MIMIC-CXR-JPG 2.1.0."""

RATES = {**FAULT_RATES, "lateral": 0.60}
"""MIMIC-CXR has 1.66 images per study, and so have these tables."""

IMAGES_PER_PATIENT = 5.2
"""Average number of images of a patient at these rates, to estimate the number of patients to draw."""

_CHUNK = 500
"""Patients listed by one task."""


def write_tables_only(
    out: str | Path, *, images: int = MIMIC_IMAGES, seed: int = 0, size: int = 256, processes: int | None = None
) -> CohortSummary:
    """Write the tables of a cohort with exactly this many images, and no files.

    Args:
        out: a new or empty folder, or one that an earlier run with the same arguments wrote.
        images: rows of the metadata table.
        seed: of everything.
        size: rows and columns of each image in the tables.
        processes: that work at once; None takes all cores.

    Raises:
        ConfigError: if the folder holds something else, or the number of images is out of range.
    """
    if not 1 <= images <= MAX_PATIENTS:
        raise ConfigError(f"the number of images must be in [1, {MAX_PATIENTS}]", found=str(images))
    out = Path(out)
    claim_folder(out, {"tables_only": True, "images": images, "seed": seed, "size": size})
    rows, listed = TableRows(), 0
    with tqdm(total=images, desc="tables", unit="image", mininterval=1) as progress:
        while len(rows.metadata) < images:
            wanted = ceil((images - len(rows.metadata)) / IMAGES_PER_PATIENT)
            starts = range(listed, listed + wanted, _CHUNK)
            tasks = ((seed, size, start, min(_CHUNK, listed + wanted - start)) for start in starts)
            for chunk in map_in_order(_list_chunk, tasks, processes=processes):
                _add_until(rows, chunk, images)
                progress.update(len(rows.metadata) - progress.n)
            listed += wanted
    write_tables(out, rows)
    studies = len({row[2] for row in rows.metadata})
    return CohortSummary(len(rows.patients), studies, len(rows.metadata), len(rows.planted), 0)


def _add_until(rows: TableRows, patients: list[TableRows], images: int) -> None:
    """Append patients until there are exactly this many images."""
    for patient_rows in patients:
        surplus = len(rows.metadata) + len(patient_rows.metadata) - images
        if len(rows.metadata) < images:
            rows.add(_without_last(patient_rows, surplus))


def _list_chunk(task: tuple[int, int, int, int]) -> list[TableRows]:
    seed, size, start, count = task
    return [
        list_rows(plant_faults(draw_patient(seed, index), seed, rates=RATES), seed=seed, size=size)
        for index in range(start, start + count)
    ]


def _without_last(rows: TableRows, surplus: int) -> TableRows:
    """Drop the last images of a patient."""
    if surplus > 0:
        rows.metadata, rows.split = rows.metadata[:-surplus], rows.split[:-surplus]
    return rows
