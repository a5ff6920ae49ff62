"""The shipped configuration with random weights, and a small working folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BUNDLE = Path(__file__).resolve().parents[2] / "bundle"
SIZE = 128


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


def draw_radiograph(seed: int = 0, *, height: int = SIZE, width: int = SIZE) -> np.ndarray:
    """Two dark lungs in a bright chest, uint8, shape (height, width)."""
    rows, columns = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    lungs = sum(np.exp(-(((columns - x) / 0.16) ** 2 + ((rows - 0.5) / 0.3) ** 2)) for x in (0.3, 0.7))
    noise = np.random.default_rng(seed).normal(0, 3, (height, width))
    return np.clip(220 - 180 * lungs + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def rendered_chest() -> np.ndarray:
    """A rendered patient without findings, float32 in [0, 1], shape (180, 180)."""
    from biomedjourney_monai.phantom.findings import FindingState
    from biomedjourney_monai.phantom.patients import draw_patient
    from biomedjourney_monai.phantom.truth import render_counterfactual

    patient = draw_patient(5, 0, stream="controls")
    return render_counterfactual(patient, patient.visits[0], FindingState(), size=180, view_position="PA").image


@pytest.fixture
def prepared(tmp_path) -> Path:
    """A working folder as `describe` leaves it: four single images, three journeys."""
    from biomedjourney_monai.files import write_json_lines

    work = tmp_path / "work"
    (work / "images").mkdir(parents=True)
    for index in range(4):
        Image.fromarray(draw_radiograph(index)).save(work / "images" / f"{index}.png")
    mask = np.full((SIZE, SIZE), 255, np.uint8)
    mask[:, :5] = 0
    Image.fromarray(mask).save(work / "images" / "valid.png")
    singles = [
        {"image": f"images/{index}.png", "split": "train", "impression": "" if index == 3 else f"Finding {index}."}
        for index in range(4)
    ]
    triples = [
        {
            "journey_id": f"j{index:06d}",
            "split": "test" if index else "train",
            "prior_image": f"images/{index}.png",
            "new_image": f"images/{index + 1}.png",
            "valid_mask": "images/valid.png",
            "progression_description": "New small left pleural effusion.",
        }
        for index in range(3)
    ]
    write_json_lines(work / "singles.jsonl", singles)
    write_json_lines(work / "triples.jsonl", triples)
    return work


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
