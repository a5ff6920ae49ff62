"""A cohort on disk, or its tables alone: phantom patients in the layout of MIMIC-CXR-JPG and MIMIC-IV."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import TypedDict

import cv2
import numpy as np
from tqdm import tqdm

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.files import write_json, written_atomically
from biomedjourney_monai.phantom.faults import FAULT_RATES, PlannedImage, UntidyPatient, plant_faults
from biomedjourney_monai.phantom.parallel import map_in_order
from biomedjourney_monai.phantom.patients import MAX_PATIENTS, Visit, draw_patient
from biomedjourney_monai.phantom.reports import write_report
from biomedjourney_monai.phantom.seeds import derive_rng
from biomedjourney_monai.phantom.tables import TableRows, list_rows, write_tables
from biomedjourney_monai.phantom.truth import anatomy_of, render_counterfactual, render_visit

MARKER_FILE = "phantom.json"
"""States which cohort a folder holds, so that a second run continues only the same one."""

LAYOUT_VERSION = 1

IMAGE_FORMATS = ("jpg", "dicom")
JPEG_QUALITY = 95


class _View(TypedDict):
    view_position: str
    acquisition_seed: int


@dataclass(frozen=True)
class CohortPlan:
    """The settings that determine a cohort's bytes."""

    patients: int
    seed: int
    size: int = 256
    image_format: str = "jpg"

    def __post_init__(self) -> None:
        if not 1 <= self.patients <= MAX_PATIENTS:
            raise ConfigError(f"patients must be in [1, {MAX_PATIENTS}]", found=str(self.patients))
        if not 64 <= self.size <= 4096:
            raise ConfigError("size must be in [64, 4096] pixels", found=str(self.size))
        if self.image_format not in IMAGE_FORMATS:
            raise ConfigError(f"format must be one of {', '.join(IMAGE_FORMATS)}", found=self.image_format)


@dataclass(frozen=True)
class CohortSummary:
    """Numbers of what was written."""

    patients: int
    studies: int
    images: int
    planted: int
    counterfactuals: int


def write_phantom_cohort(
    out: str | Path,
    *,
    patients: int = 100,
    seed: int = 0,
    size: int = 256,
    processes: int | None = None,
    truth: Sequence[str] = (),
    image_format: str = "jpg",
) -> CohortSummary:
    """Write a cohort: images and reports under files/, the tables of MIMIC-CXR-JPG, MIMIC-IV's under hosp/.

    Existing files are kept, so that a stopped run resumes. The tables come last: a folder with planted.csv is complete.
    The same arguments give the same bytes for any number of processes.

    Args:
        out: a new or empty folder, or one that an earlier run with the same patients, seed and size wrote.
        patients: number of patients.
        seed: of everything.
        size: rows and columns of each image, in [64, 4096].
        processes: that work at once; None takes all cores.
        truth: splits whose patients also get the true counterfactual of every prior image under the findings of every
            later study: truth/<prior_dicom_id>-<new_study_id>.png, its masks as .npz, and truth.csv. They are added to
            a cohort that was written without them.
        image_format: "jpg", or "dicom" for .dcm files as varied as in an archive.

    Raises:
        ConfigError: if the folder holds something else, or an argument is out of range.
    """
    plan = CohortPlan(patients, seed, size, image_format)
    out = Path(out).resolve()  # reused workers may have started in another folder
    claim_folder(out, asdict(plan))
    rows = TableRows()
    tasks = ((str(out), plan, index, tuple(truth)) for index in range(patients))
    written = map_in_order(_write_patient, tasks, processes=processes)
    for patient_rows in tqdm(written, total=patients, desc="patients", unit="patient", mininterval=1):
        rows.add(patient_rows)
    write_tables(out, rows, with_record_lists=image_format == "dicom")
    studies = len({row[2] for row in rows.metadata})
    return CohortSummary(patients, studies, len(rows.metadata), len(rows.planted), len(rows.truth))


def claim_folder(out: Path, settings: Mapping[str, object]) -> None:
    """Mark a new folder as holding a cohort of these settings; a ConfigError if it holds something else."""
    wanted = {"layout": LAYOUT_VERSION, **settings}
    marker = out / MARKER_FILE
    if out.exists() and not out.is_dir():
        raise ConfigError("--out must be a folder", found="a file")
    if marker.is_file():
        try:
            found = json.loads(marker.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found != wanted:
            raise ConfigError(
                "an existing cohort can only be continued with its own settings",
                found=_difference(found, wanted),
                action="Choose another folder, or the same patients, seed and size",
            )
    elif out.is_dir() and any(out.iterdir()):
        raise ConfigError(
            "--out must be a new or empty folder",
            found="one with other files in it",
            action="Choose another folder, so that your files are not mixed with rendered ones",
        )
    else:
        try:
            write_json(marker, wanted, public=True)
        except OSError as error:
            raise ConfigError("--out must be writable", found=error.strerror or type(error).__name__) from error


def _difference(found: object, wanted: Mapping[str, object]) -> str:
    if not isinstance(found, dict):
        return f"an unreadable {MARKER_FILE}"
    names = [name for name in wanted if found.get(name) != wanted[name]]
    return ", ".join(f"{name} {found.get(name)}, not {wanted[name]}" for name in names) or "other settings"


def _write_patient(task: tuple[str, CohortPlan, int, tuple[str, ...]]) -> TableRows:
    """Write one patient's files; return the rows of the tables."""
    folder, plan, index, truth = task
    out = Path(folder)
    untidy = plant_faults(draw_patient(plan.seed, index), plan.seed)
    for half_written in _study_folder(out, untidy.patient.subject_id, 0).parent.rglob(".*"):  # by a killed run
        half_written.unlink()
    rows = list_rows(untidy, seed=plan.seed, size=plan.size)
    _write_images(out, untidy, plan)
    _write_reports(out, untidy, plan.seed)
    if untidy.patient.split in truth:
        rows.truth = list(_write_truth(out / "truth", untidy, plan.size))
    return rows


def _study_folder(out: Path, subject_id: int, study_id: int) -> Path:
    return out / "files" / f"p{subject_id // 1_000_000}" / f"p{subject_id}" / f"s{study_id}"


def _write_images(out: Path, untidy: UntidyPatient, plan: CohortPlan) -> None:
    patient = untidy.patient
    anatomy = None
    for visit, images in zip(patient.visits, untidy.images):
        folder = _study_folder(out, patient.subject_id, visit.study_id)
        for image in images:
            path = folder / (image.dicom_id + (".dcm" if plan.image_format == "dicom" else ".jpg"))
            if path.exists():
                continue
            anatomy = anatomy or anatomy_of(patient)
            view: _View = {"view_position": image.view_position, "acquisition_seed": image.acquisition_seed}
            rendering = render_visit(patient, visit, size=plan.size, anatomy=anatomy, **view)
            if plan.image_format == "dicom":
                from biomedjourney_monai.phantom.dicom import encode_dicom

                encoded = encode_dicom(rendering.image, patient, visit, image, seed=plan.seed)
            else:
                encoded = encode_image(rendering.image, image)
            _write_bytes(path, encoded)


def encode_image(pixels: np.ndarray, planned: PlannedImage) -> bytes:
    """Encode pixels in [0, 1], shape (H, W), as 8-bit grey JPEG, with the planned damage."""
    grey = as_grey(pixels)
    if planned.damage == "inverted":
        grey = 255 - grey
    encoded = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    if planned.damage == "truncated":
        share = 0.2 + 0.6 * (planned.acquisition_seed % 1000) / 1000
        encoded = encoded[: int(len(encoded) * share)]
    return encoded


def as_grey(pixels: np.ndarray) -> np.ndarray:
    """Round [0, 1] to 8 bits."""
    return np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def _write_reports(out: Path, untidy: UntidyPatient, seed: int) -> None:
    patient = untidy.patient
    previous: Visit | None = None
    for visit in patient.visits:
        path = _study_folder(out, patient.subject_id, visit.study_id).with_suffix(".txt")
        if visit.study_id not in untidy.missing_reports and not path.exists():
            report = write_report(patient, visit, previous, derive_rng(seed, "report", visit.study_id))
            _write_bytes(path, report.encode())
        previous = visit


def _write_truth(folder: Path, untidy: UntidyPatient, size: int) -> Iterator[tuple[str, int, str]]:
    """Write the counterfactual of each image that the tables call PA under each later study's findings.

    Damage of the prior's file is not repeated: an inverted prior has a truth in normal grey, a lateral has a lateral.

    Yields:
        The rows of truth.csv.
    """
    patient = untidy.patient
    anatomy = anatomy_of(patient)
    for place, (visit, images) in enumerate(zip(patient.visits, untidy.images)):
        for image in images:
            if not image.is_recorded_pa:
                continue
            for new in patient.visits[place + 1 :]:
                name = f"{image.dicom_id}-{new.study_id}"
                if not (folder / f"{name}.png").exists():
                    view: _View = {"view_position": image.view_position, "acquisition_seed": image.acquisition_seed}
                    rendering = render_counterfactual(
                        patient, visit, new.findings, size=size, with_masks=True, anatomy=anatomy, **view
                    )
                    with written_atomically(folder / f"{name}.npz", public=True) as temporary:
                        np.savez_compressed(temporary, masks=np.asarray(rendering.masks))
                    _write_bytes(folder / f"{name}.png", cv2.imencode(".png", as_grey(rendering.image))[1].tobytes())
                yield image.dicom_id, new.study_id, f"{name}.png"


def _write_bytes(path: Path, content: bytes) -> None:
    with written_atomically(path, public=True) as temporary:
        temporary.write_bytes(content)


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
