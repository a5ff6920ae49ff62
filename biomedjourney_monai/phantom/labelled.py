"""Labelled radiographs to train judges and the text tower: one PA image each of patients that are in no cohort."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.phantom.parallel import map_in_order
from biomedjourney_monai.phantom.patients import MAX_PATIENTS, draw_patient
from biomedjourney_monai.phantom.reports import write_report
from biomedjourney_monai.phantom.seeds import derive_rng
from biomedjourney_monai.phantom.truth import render_visit
from biomedjourney_monai.schema import FINDINGS, STRUCTURES

STREAM = "labelled"
"""Keeps these patients apart from every cohort's, for any seed."""


@dataclass(frozen=True)
class LabelledImages:
    """Radiographs with their labels, masks and reports.

    Args:
        images: uint8, shape (N, H, W), bright is dense.
        labels: the truth, int8, shape (N, 5), in the order of `schema.FINDINGS`.
        group: the demographic group 0, 1 or 2, int64, shape (N,).
        age: years, float32, shape (N,).
        sex: "F" or "M", shape (N,).
        masks: uint8, shape (N, 6, H, W), in the order of `schema.STRUCTURES`; None if not requested.
        reports: one text each, without comparison to a prior.
    """

    images: np.ndarray
    labels: np.ndarray
    group: np.ndarray
    age: np.ndarray
    sex: np.ndarray
    masks: np.ndarray | None
    reports: list[str]

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, chosen: slice) -> "LabelledImages":
        """Give some of the rows."""
        parts: dict[str, Any] = {name: value[chosen] for name, value in vars(self).items() if value is not None}
        return replace(self, **parts)


def draw_labelled(
    n: int, *, seed: int, size: int = 128, processes: int | None = 1, with_masks: bool = False
) -> LabelledImages:
    """Draw n PA radiographs of n patients, without planted faults.

    Args:
        seed: the same seed gives the same images; no cohort contains these patients.
        size: rows and columns.
        processes: that work at once; None takes all cores.
        with_masks: also return masks; 6 · size² bytes each.

    Raises:
        ConfigError: if n is out of range.
    """
    if not 1 <= n <= MAX_PATIENTS:
        raise ConfigError(f"the number of images must be in [1, {MAX_PATIENTS}]", found=str(n))
    images = np.empty((n, size, size), np.uint8)
    masks = np.empty((n, len(STRUCTURES), size, size), np.uint8) if with_masks else None
    labels, group = np.empty((n, len(FINDINGS)), np.int8), np.empty(n, np.int64)
    age, sex, reports = np.empty(n, np.float32), np.empty(n, "U1"), []
    tasks = ((seed, index, size, with_masks) for index in range(n))
    drawn = map_in_order(_draw_one, tasks, processes=processes)
    for index, (image, mask, label, *person, report) in enumerate(
        tqdm(drawn, total=n, desc="labelled", unit="image", mininterval=1)
    ):
        images[index], labels[index] = image, label
        group[index], age[index], sex[index] = person
        if masks is not None:
            masks[index] = mask
        reports.append(report)
    return LabelledImages(images, labels, group, age, sex, masks, reports)


def _draw_one(task: tuple[int, int, int, bool]) -> tuple:
    seed, index, size, with_masks = task
    patient = draw_patient(seed, index, stream=STREAM)
    visit = replace(patient.visits[0], view_position="PA")
    rendering = render_visit(patient, visit, size=size, with_masks=with_masks)
    report = write_report(patient, visit, None, derive_rng(seed, STREAM, "report", index))
    image = np.round(np.clip(rendering.image, 0, 1) * 255).astype(np.uint8)
    labels = list(visit.findings.labels().values())
    return image, rendering.masks, labels, patient.group, patient.anchor_age, patient.sex, report
