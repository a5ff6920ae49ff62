"""A phantom radiograph as a DICOM file, with the variety of a real archive.

DX and CR; MONOCHROME1 and 2; 12 to 16 bits; a window, a VOI LUT or neither; stored values with and without a rescale;
six transfer syntaxes. Rescale, VOI and inversion, in this order, restore the image.
"""

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from biomedjourney_monai.phantom.faults import PlannedImage
from biomedjourney_monai.phantom.patients import Patient, Visit
from biomedjourney_monai.phantom.seeds import derive_rng

TRANSFER_SYNTAXES: tuple[UID, ...] = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEG2000Lossless,
)
BITS_STORED = (12, 14, 15, 16)
VOI_KINDS = ("window", "lut", "none")

FIELD_MM = 430.0
"""Side of the detector."""

_VIEW_CODES = {
    "postero-anterior": ("272479007", ["L", "F"]),
    "antero-posterior": ("399348003", ["L", "F"]),
    "lateral": ("399067008", ["A", "F"]),
}
"""ViewCodeSequence_CodeMeaning → SNOMED CT code and PatientOrientation."""


@dataclass(frozen=True)
class DicomForm:
    """How one image is stored.

    Args:
        modality: "DX" or "CR".
        is_monochrome1: whether low values display bright.
        bits: bits stored, of 16 allocated.
        voi: "window", "lut" or "none".
        slope: rescale slope; the intercept is -10 times the slope, or 0 with slope 1.
        transfer_syntax: encoding of the data set.
        names_body_part: whether BodyPartExamined has a value.
    """

    modality: str
    is_monochrome1: bool
    bits: int
    voi: str
    slope: float
    transfer_syntax: UID
    names_body_part: bool

    @property
    def intercept(self) -> float:
        """The rescale intercept."""
        return 0.0 if self.slope == 1 else -10 * self.slope


def draw_form(seed: int, dicom_id: str) -> DicomForm:
    """Draw how an image is stored; JPEG 2000 has 16 bits, and only CR without LUT has a rescale."""
    rng = derive_rng(seed, "dicom", dicom_id)
    syntax = TRANSFER_SYNTAXES[int(rng.integers(len(TRANSFER_SYNTAXES)))]
    modality = "DX" if rng.random() < 0.7 else "CR"
    bits = 16 if syntax == JPEG2000Lossless else BITS_STORED[int(rng.integers(len(BITS_STORED)))]
    voi = VOI_KINDS[int(rng.integers(len(VOI_KINDS)))]
    slope = 2.0 if modality == "CR" and voi != "lut" and rng.random() < 0.3 else 1.0
    return DicomForm(modality, bool(rng.random() < 0.4), bits, voi, slope, syntax, bool(rng.random() < 0.85))


def encode_dicom(pixels: np.ndarray, patient: Patient, visit: Visit, planned: PlannedImage, *, seed: int) -> bytes:
    """Encode one radiograph as a DICOM file, with the planned damage; the same arguments give the same bytes.

    Args:
        pixels: in [0, 1], shape (H, W), bright is dense.
        seed: the cohort's.
    """
    form = draw_form(seed, planned.dicom_id)
    displayed = np.clip(pixels, 0, 1).astype(np.float64)
    if planned.damage == "inverted":
        displayed = 1 - displayed
    dataset = _describe(patient, visit, planned, form, seed)
    _set_pixels(dataset, displayed, form)
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    encoded = stream.getvalue()
    if planned.damage == "truncated":
        share = 0.3 + 0.6 * (planned.acquisition_seed % 1000) / 1000
        encoded = encoded[: int(len(encoded) * share)]
    return encoded


def _describe(patient: Patient, visit: Visit, planned: PlannedImage, form: DicomForm, seed: int) -> Dataset:
    """Fill all attributes but the pixels: patient, study, series, acquisition, view."""
    dataset = Dataset()
    is_dx = form.modality == "DX"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation if is_dx else ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = _uid(seed, "image", planned.dicom_id)
    dataset.StudyInstanceUID = _uid(seed, "study", visit.study_id)
    dataset.SeriesInstanceUID = _uid(seed, "series", planned.dicom_id)
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = f"{visit.time:%Y%m%d}"
    time = f"{visit.time:%H%M%S}.{visit.time.microsecond // 1000:03d}"
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = time
    dataset.AccessionNumber = f"A{visit.study_id}"
    dataset.Modality = form.modality
    dataset.Manufacturer = "Phantom"
    dataset.ManufacturerModelName = "Rendered radiograph"
    examination = "CHEST (PA AND LAT)" if visit.view_position == "PA" else "CHEST (PORTABLE AP)"
    dataset.StudyDescription = dataset.PerformedProcedureStepDescription = examination
    dataset.PatientName = f"PHANTOM^P{patient.subject_id}"
    dataset.PatientID = str(patient.subject_id)
    dataset.PatientBirthDate = ""
    dataset.PatientSex = patient.sex
    age = patient.anchor_age + visit.time.year - patient.anchor_year
    dataset.PatientAge = f"{age if age <= 89 else 91:03d}Y"
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "Rendered: there is no such person"
    dataset.add_new(0x0008001C, "CS", "YES")  # Synthetic Data
    dataset.ReferringPhysicianName = ""
    dataset.StudyID = str(visit.study_id)
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    _describe_view(dataset, planned, form)
    return dataset


def _describe_view(dataset: Dataset, planned: PlannedImage, form: DicomForm) -> None:
    """Fill the view as the tables record it, correct or not."""
    code, orientation = _VIEW_CODES[planned.recorded_code]
    dataset.BodyPartExamined = "CHEST" if form.names_body_part else ""
    dataset.ViewPosition = {"LATERAL": "LL"}.get(planned.recorded_view, planned.recorded_view)
    view = Dataset()
    view.CodeValue, view.CodingSchemeDesignator, view.CodeMeaning = code, "SCT", planned.recorded_code
    dataset.ViewCodeSequence = Sequence([view])
    dataset.PatientOrientation = orientation
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    if form.modality == "DX":
        dataset.PresentationIntentType = "FOR PRESENTATION"
        dataset.ImageLaterality = "U"
        dataset.PixelIntensityRelationship = "LOG"
        dataset.PixelIntensityRelationshipSign = 1 if form.is_monochrome1 else -1
        dataset.PresentationLUTShape = "INVERSE" if form.is_monochrome1 else "IDENTITY"


def _set_pixels(dataset: Dataset, displayed: np.ndarray, form: DicomForm) -> None:
    """Store the image so that rescale, VOI and inversion restore it."""
    height, width = displayed.shape
    stored = _store(dataset, 1 - displayed if form.is_monochrome1 else displayed, form)
    dataset.Rows, dataset.Columns = height, width
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if form.is_monochrome1 else "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, form.bits, form.bits - 1
    dataset.PixelRepresentation = 0
    spacing = [round(FIELD_MM / height, 4), round(FIELD_MM / width, 4)]
    dataset.ImagerPixelSpacing = spacing
    if form.modality == "CR":
        dataset.PixelSpacing = spacing
    if form.modality == "DX" or form.slope != 1:
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = form.intercept, form.slope, "US"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = form.transfer_syntax
    _set_pixel_data(dataset, stored, form)


def _store(dataset: Dataset, values: np.ndarray, form: DicomForm) -> np.ndarray:
    """Map [0, 1] to stored values, and describe the inverse mapping in the data set; uint16, shape (H, W)."""
    top = 2**form.bits - 1
    if form.voi == "none":
        return np.round(values * top).astype(np.uint16)
    if form.voi == "window":
        low, high = round(0.12 * top), round(0.81 * top)
        center, width = (low + high) / 2 + 0.5, high - low + 1  # the standard's linear function
        dataset.WindowCenter = center * form.slope + form.intercept
        dataset.WindowWidth = width * form.slope
        return np.round(low + values * (high - low)).astype(np.uint16)
    stored = np.round(top * values**1.6).astype(np.uint16)
    lut = Dataset()
    entries = np.round((np.arange(top + 1) / top) ** (1 / 1.6) * 65535).astype(np.uint16)
    # A count of 65,536 entries is written as 0.
    lut.add_new(0x00283002, "US", [len(entries) % 65536, 0, 16])
    lut.LUTExplanation = "NORMAL"
    lut.add_new(0x00283006, "OW", entries.astype(_byte_order(form)).tobytes())
    dataset.VOILUTSequence = Sequence([lut])
    return stored


def _set_pixel_data(dataset: Dataset, stored: np.ndarray, form: DicomForm) -> None:
    if form.transfer_syntax == JPEG2000Lossless:
        stream = io.BytesIO()
        Image.fromarray(stored).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
        dataset.PixelData = encapsulate([stream.getvalue()])
        dataset["PixelData"].VR = "OB"
    elif form.transfer_syntax == RLELossless:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.PixelData = stored.astype("<u2").tobytes()
        dataset.compress(RLELossless, generate_instance_uid=False)
    else:
        dataset.PixelData = stored.astype(_byte_order(form)).tobytes()
        dataset["PixelData"].VR = "OW"


def _byte_order(form: DicomForm) -> str:
    return ">u2" if form.transfer_syntax == ExplicitVRBigEndian else "<u2"


def _uid(seed: int, kind: str, name: str | int) -> str:
    """Return a UID under 2.25, the root for UUIDs."""
    digest = hashlib.blake2b(f"{seed}/{kind}/{name}".encode(), digest_size=16).digest()
    return f"2.25.{int.from_bytes(digest, 'big')}"
