"""Shared fixtures: a tiny cohort in MIMIC-CXR-JPG's and MIMIC-IV's layout, and networks small enough for a test."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from biomedjourney_monai.schema import CHEXPERT_LABELS

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"

settings.register_profile("steady", derandomize=True, deadline=None)  # the same cases on every machine, slow or not
settings.load_profile("steady")

LONG = {"bundle", "packaging", "integration", "monai_label", "test_pacs.py", "test_app_browser.py", "test_service.py"}
"""Long files of tests, and folders with few, long ones. They run first, so that two processes end at the same time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first; the order is otherwise as drawn."""
    items.sort(key=lambda item: LONG.isdisjoint(item.path.relative_to(Path(__file__).parent).parts))


@pytest.fixture(scope="session")
def loaders() -> dict[str, Callable[..., object]]:
    """For `loaded_once`: loaders that load the same files once, by the name of what they replace."""
    from biomedjourney_monai.evaluation.judges import loading
    from biomedjourney_monai.model_config import ModelConfig

    once, names = _module_beside("loaded_once"), ("load_phantom_judges", "load_film_judges")
    generator = once.LoadedOnce(ModelConfig.load_generator, once.of_config)
    judges = {name: once.LoadedOnce(getattr(loading, name), once.of_folder) for name in names}
    return {"load_generator": lambda config, **named: generator(config, **named), **judges}


@pytest.fixture
def loaded_once(loaders, monkeypatch) -> None:
    """In this test models and judges are those that an earlier test loaded from the same files."""
    from biomedjourney_monai.evaluation.judges import loading
    from biomedjourney_monai.model_config import ModelConfig

    for name, load in loaders.items():
        monkeypatch.setattr(ModelConfig if name == "load_generator" else loading, name, load)


METADATA_COLUMNS = (
    "dicom_id",
    "subject_id",
    "study_id",
    "PerformedProcedureStepDescription",
    "ViewPosition",
    "Rows",
    "Columns",
    "StudyDate",
    "StudyTime",
    "ProcedureCodeSequence_CodeMeaning",
    "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)


def draw_chest(seed: int, *, height: int = 240, width: int = 200, shift: int = 0) -> np.ndarray:
    """A picture that is bright where a chest is dense, uint8; the seed draws the patient, `shift` moves the patient."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(float)
    y, x = (y - shift) / height, (x - shift) / width

    def ellipse(cy: float, cx: float, ry: float, rx: float) -> np.ndarray:
        return 1 / (1 + np.exp(12 * (((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 - 1)))

    image = 0.85 * ellipse(0.55, 0.5, 0.60, 0.46)
    image -= 0.55 * ellipse(0.45, 0.30 + rng.uniform(-0.02, 0.02), 0.30 + rng.uniform(-0.03, 0.03), 0.14)
    image -= 0.55 * ellipse(0.45, 0.70 + rng.uniform(-0.02, 0.02), 0.30 + rng.uniform(-0.03, 0.03), 0.13)
    image += 0.35 * ellipse(0.60, 0.56 + rng.uniform(-0.02, 0.02), 0.13 + rng.uniform(-0.02, 0.02), 0.14)
    for rib in range(6):  # ribs give the registration something to hold
        image += 0.07 * np.exp(-(((y - 0.2 - 0.08 * rib - 0.3 * (x - 0.5) ** 2) / 0.01) ** 2))
    return np.rint(np.clip(image, 0, 1) * 235 + 10).astype(np.uint8)


@dataclass
class MimicFolder:
    """Builds the folder: add patients and studies, then `write`."""

    root: Path
    images: list[dict] = field(default_factory=list)
    labels: list[dict] = field(default_factory=list)
    patients: list[dict] = field(default_factory=list)
    admissions: list[dict] = field(default_factory=list)

    def add_patient(self, subject_id: int, *, races: tuple[str, ...] = ("WHITE",), **row) -> None:
        row = {
            "gender": "F",
            "anchor_age": 60,
            "anchor_year": 2150,
            "anchor_year_group": "2014 - 2016",
            "dod": "",
        } | row
        self.patients.append({"subject_id": subject_id, **row})
        self.admissions += [
            {"subject_id": subject_id, "hadm_id": 20000000 + n, "race": race} for n, race in enumerate(races)
        ]

    def add_study(
        self,
        subject_id: int,
        study_id: int,
        *,
        date: str = "21500101",
        time: str = "120000.000",
        view: str = "PA",
        code: str = "postero-anterior",
        report: str | None = "IMPRESSION:  No acute cardiopulmonary process.",
        image: bool | bytes = True,
        dicom_id: str = "",
        labels: dict[str, float] | None = None,
        labelled: bool = True,
        rows: int = 240,
        shift: int = 0,
    ) -> None:
        """Add one image of a study, with its report and labels; the default labels say No Finding."""
        dicom_id = dicom_id or f"{study_id:08x}-00000000-11111111"
        folder = self.root / "files" / f"p{str(subject_id)[:2]}" / f"p{subject_id}"
        path = folder / f"s{study_id}" / f"{dicom_id}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(image, bytes):
            path.write_bytes(image)
        elif image:
            Image.fromarray(draw_chest(subject_id, height=rows, shift=shift)).save(path, quality=92)
        if report is not None and not (folder / f"s{study_id}.txt").exists():
            (folder / f"s{study_id}.txt").write_text(f" FINAL REPORT\n {report}\n")
        row = dict.fromkeys(METADATA_COLUMNS, "") | {"dicom_id": dicom_id, "subject_id": subject_id}
        row |= {"study_id": study_id, "ViewPosition": view, "Rows": rows, "Columns": 200}
        row |= {"StudyDate": date, "StudyTime": time, "ViewCodeSequence_CodeMeaning": code}
        self.images.append(row)
        if labelled and not any(known["study_id"] == study_id for known in self.labels):
            values = dict.fromkeys(CHEXPERT_LABELS, "") | (labels or {"No Finding": 1.0})
            self.labels.append({"subject_id": subject_id, "study_id": study_id, **values})

    def write(self, *, without: tuple[str, ...] = ()) -> Path:
        """Write the tables; `without` names tables to leave out."""
        split = [
            {"dicom_id": i["dicom_id"], "study_id": i["study_id"], "subject_id": i["subject_id"], "split": "train"}
            for i in self.images
        ]
        tables = {
            "mimic-cxr-2.0.0-metadata": self.images,
            "mimic-cxr-2.0.0-chexpert": self.labels,
            "mimic-cxr-2.0.0-split": split,
            "hosp/patients": self.patients,
            "hosp/admissions": self.admissions,
        }
        for name, rows in tables.items():
            if name not in without:
                self.write_table(name, rows)
        return self.root

    def write_table(self, name: str, rows: list[dict]) -> None:
        path = self.root / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [",".join(rows[0])] + [",".join(str(value) for value in row.values()) for row in rows]
        path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))


def _module_beside(name: str) -> ModuleType:
    """A module of this folder, which is not a package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def warm_process(tmp_path_factory):
    """Run `python -m MODULE` in a process of its own that starts with MONAI imported: `warm_process.run`."""
    process = _module_beside("warm_process").WarmProcess(tmp_path_factory.mktemp("warm_process"))
    yield process
    process.close()


@pytest.fixture
def mimic(tmp_path: Path) -> MimicFolder:
    """An empty folder to build a cohort in."""
    return MimicFolder(tmp_path / "mimic")


@pytest.fixture
def small_mimic(mimic: MimicFolder) -> Path:
    """Three patients, seven usable studies, one lateral, one broken image, one study without a report."""
    effusion = {"Pleural Effusion": 1.0, "Pneumothorax": 0.0}
    small, large = "IMPRESSION:  Small left pleural effusion.", "IMPRESSION:  Large left pleural effusion, increased."
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000009, date="21500101", report=small, labels=effusion)
    mimic.add_study(10000001, 50000003, date="21500111", report=large, labels=effusion, shift=8)
    mimic.add_study(10000001, 50000003, date="21500111", view="LATERAL", code="lateral", dicom_id="lateral")
    mimic.add_study(10000001, 50000001, date="21500301", shift=-6)
    mimic.add_patient(11000002, gender="M", races=("BLACK/AFRICAN AMERICAN", "UNKNOWN"))
    mimic.add_study(11000002, 50000011, date="21500101", report=None, labels={"Edema": 1.0})
    mimic.add_study(11000002, 50000012, date="21500201", shift=4)
    mimic.add_patient(19000003)
    mimic.add_study(19000003, 50000021, date="21500101", time="81500.5")
    mimic.add_study(19000003, 50000022, date="21500102", image=b"\xff\xd8\xff\xe0 cut short")
    return mimic.write()


@pytest.fixture(scope="session")
def write_prepared():
    """`_write_prepared`: a working folder as `describe` leaves it."""
    return _write_prepared


def _write_prepared(
    work: Path,
    images: Sequence[np.ndarray],
    *,
    splits: Sequence[str],
    journeys: Sequence[tuple[int, int, str]],
    impressions: Sequence[str] | None = None,
    description: str = "New edema.",
    valid: np.ndarray | None = None,
) -> Path:
    """Write single images, each with its split and impression, and journeys (prior, new, split) between them.

    Images are uint8, shape (H, W), as is the mask `valid` of every journey; None: all is valid.
    """
    from biomedjourney_monai.files import write_json_lines

    (work / "images").mkdir(parents=True)
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(work / "images" / f"{number}.png")
    mask = np.full(images[0].shape, 255, np.uint8) if valid is None else valid
    Image.fromarray(mask).save(work / "images" / "valid.png")
    texts = ["Clear."] * len(images) if impressions is None else impressions
    singles = [
        {"image": f"images/{number}.png", "split": split, "impression": text}
        for number, (split, text) in enumerate(zip(splits, texts, strict=True))
    ]
    triples = [
        {
            "journey_id": f"j{number:06d}",
            "split": split,
            "prior_image": f"images/{prior}.png",
            "new_image": f"images/{new}.png",
            "valid_mask": "images/valid.png",
            "progression_description": description,
        }
        for number, (prior, new, split) in enumerate(journeys)
    ]
    write_json_lines(work / "singles.jsonl", singles)
    write_json_lines(work / "triples.jsonl", triples)
    return work


@pytest.fixture
def make_denoiser():
    """Builds a small denoiser for latents of 4 channels and token states 6 wide.

    `awake` gives numbers to what starts at zero, except the weights that see the prior latent, so that the output is
    not zero.
    """
    import torch

    from biomedjourney_monai.networks.denoiser import Denoiser

    def make(*, awake: bool = True, seed: int = 0, **settings) -> Denoiser:
        torch.manual_seed(seed)
        geometry = {"channels": (8, 16), "attention_levels": (False, True), "num_head_channels": (0, 8)}
        geometry |= {"latent_channels": 4, "text_width": 6, "cross_attention_dim": 8, "norm_num_groups": 4}
        denoiser = Denoiser(**{**geometry, **settings})
        for parameter in denoiser.parameters():
            if awake and not parameter.any():
                torch.nn.init.normal_(parameter.data, std=0.2)
        return denoiser.eval()

    return make


@pytest.fixture
def word_encoder():
    """A stand-in for the text encoder: 5 token states, 6 wide, drawn from the text itself."""
    import zlib

    import torch

    class WordEncoder(torch.nn.Module):
        weights_hash = "0" * 64
        width, context_length, truncated = 6, 5, 0

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("unused", torch.zeros(1))

        def encode(self, descriptions):
            seeds = [zlib.crc32(text.encode()) for text in descriptions]
            return torch.stack([torch.randn(5, 6, generator=torch.Generator().manual_seed(seed)) for seed in seeds])

    return WordEncoder()


@pytest.fixture
def serve():
    """`fake_service.serve`: a language-model service at 127.0.0.1 that follows a script."""
    return _module_beside("fake_service").serve


@pytest.fixture
def describe():
    """`fake_service.describe`: an answer that keeps to the schema."""
    return _module_beside("fake_service").describe


@pytest.fixture
def fake_archive():
    """The module `fake_archive`: a DICOMweb archive at 127.0.0.1 that fails as told."""
    return _module_beside("fake_archive")


@pytest.fixture(scope="session")
def rendered_chest() -> np.ndarray:
    """A rendered patient without findings, float32 in [0, 1], shape (180, 180)."""
    from biomedjourney_monai.phantom.findings import FindingState
    from biomedjourney_monai.phantom.patients import draw_patient
    from biomedjourney_monai.phantom.truth import render_counterfactual

    patient = draw_patient(5, 0, stream="controls")
    return render_counterfactual(patient, patient.visits[0], FindingState(), size=180, view_position="PA").image


@pytest.fixture
def dicom_chest(rendered_chest):
    """Builds a CR of the rendered patient, named DOE^JANE; keywords overwrite attributes."""
    import io

    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    def build(pixels=None, **values) -> bytes:
        image = rendered_chest if pixels is None else pixels
        stored = np.rint(image * 4095).astype("<u2")
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        content = {
            "SpecificCharacterSet": "ISO_IR 192",
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1",
            "SOPInstanceUID": "1.2.826.0.1.3680043.8.498.1.3",
            "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1.1",
            "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.1.2",
            "PatientName": "DOE^JANE",
            "PatientID": "MRN12345",
            "PatientBirthDate": "19500102",
            "PatientSex": "F",
            "StudyDate": "20200102",
            "StudyTime": "101500",
            "StudyID": "7",
            "AccessionNumber": "ACC77",
            "ReferringPhysicianName": "WARD^DR",
            "Modality": "CR",
            "BodyPartExamined": "CHEST",
            "ViewPosition": "PA",
            "SeriesNumber": 1,
            "InstanceNumber": 1,
            "PatientOrientation": ["L", "F"],
            "Rows": image.shape[0],
            "Columns": image.shape[1],
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "BitsAllocated": 16,
            "BitsStored": 12,
            "HighBit": 11,
            "PixelRepresentation": 0,
            "PixelData": stored.tobytes(),
        }
        for keyword, value in (content | values).items():
            setattr(dataset, keyword, value)
        dataset["PixelData"].VR = "OW"
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
        return stream.getvalue()

    return build


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The shipped bundle folder."""
    return BUNDLE


@pytest.fixture(scope="session")
def random_model(tmp_path_factory) -> Path:
    """A model file of the shipped geometry; what starts at zero has numbers, so that seed and text matter."""
    import torch

    from biomedjourney_monai.configuration import compose

    torch.manual_seed(0)
    generator = compose(BUNDLE / "configs" / "common.yaml", {"bundle_root": str(BUNDLE)}).get_parsed_content(
        "generator"
    )
    for parameter in generator.denoiser.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter.data, std=0.02)
    path = tmp_path_factory.mktemp("model") / "random.pt"
    generator.save(path, info={"stage": "random"})
    return path


@pytest.fixture
def chest(tmp_path, rendered_chest):
    """A file of the rendered chest, 180 rows and 150 columns."""
    path = tmp_path / "chest.png"
    Image.fromarray(np.rint(rendered_chest[:, 15:165] * 255).astype(np.uint8)).save(path)
    return path
