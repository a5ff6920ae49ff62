"""Loss in the prior's compression, from files that Pillow compresses."""

import io

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate

from biomedjourney_monai.radiographs.write.dicom import counterfactual_dataset, to_bytes
from biomedjourney_monai.radiographs.write.dicom_source import LOSSY_KEYWORDS, read_source, to_plain_bytes

JPEG, JPEG_2000, PLAIN = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.1"


@pytest.fixture
def store(tmp_path, dicom_chest, rendered_chest):
    """Store the chest as DICOM; the pixels are compressed where a format is given."""

    def store(syntax=PLAIN, compression=None, *, options=(), **values):
        dataset = pydicom.dcmread(io.BytesIO(dicom_chest(**values)))
        if compression is not None:
            stream = io.BytesIO()
            Image.fromarray(np.rint(rendered_chest * 255).astype(np.uint8)).save(stream, compression, **dict(options))
            dataset.BitsAllocated = dataset.BitsStored = 8
            dataset.HighBit = 7
            dataset.PixelData = encapsulate([stream.getvalue()])
            dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(tmp_path / "prior.dcm", enforce_file_format=True)
        return tmp_path / "prior.dcm", len(stream.getvalue()) if compression else 0

    return store


def declared(path):
    made = counterfactual_dataset(np.full((200, 180), 0.5, np.float32), {"prior": "x"}, read_source(path))
    made = pydicom.dcmread(io.BytesIO(to_bytes(made)))
    return [made.get(keyword) for keyword in LOSSY_KEYWORDS]


@pytest.mark.parametrize(
    "syntax, compression, options, method",
    [(JPEG, "JPEG", {"quality": 80}, "ISO_10918_1"), (JPEG_2000, "JPEG2000", {"irreversible": True}, "ISO_15444_1")],
)
def test_a_transfer_syntax_with_loss_is_declared_with_its_ratio(store, syntax, compression, options, method):
    path, size = store(syntax, compression, options=options.items())
    flag, ratio, found = declared(path)
    assert (flag, found) == ("01", method)
    assert float(ratio) == pytest.approx(180 * 180 / size, rel=0.03)


def test_what_was_compressed_without_loss_is_not_declared_lossy(store):
    path, _ = store(JPEG_2000, "JPEG2000", options={"irreversible": False}.items())
    assert declared(path) == [None] * 3
    path, _ = store(JPEG_2000, "JPEG2000", options={"irreversible": False}.items(), LossyImageCompression="00")
    assert declared(path) == ["00", None, None]


def test_the_history_of_a_plain_file_is_kept(store):
    history = {"LossyImageCompression": "01", "LossyImageCompressionRatio": ["10", "2.5"]}
    path, _ = store(**history, LossyImageCompressionMethod=["ISO_10918_1", "ISO_15444_1"])
    assert declared(path) == ["01", [10, 2.5], ["ISO_10918_1", "ISO_15444_1"]]
    path, _ = store(LossyImageCompression="01")
    assert declared(path) == ["01", None, None]
    path, _ = store()
    assert declared(path) == [None] * 3


def test_a_jpeg_is_lossy_and_a_png_is_unknown(tmp_path, rendered_chest):
    grey = Image.fromarray(np.rint(rendered_chest * 255).astype(np.uint8))
    grey.save(tmp_path / "a.jpg")
    grey.save(tmp_path / "a.png")
    flag, ratio, method = declared(tmp_path / "a.jpg")
    assert (flag, method) == ("01", "ISO_10918_1")
    assert float(ratio) == pytest.approx(180 * 180 / (tmp_path / "a.jpg").stat().st_size, rel=1e-3)
    assert declared(tmp_path / "a.png") == [None] * 3
    source = read_source(tmp_path / "a.jpg")
    made = counterfactual_dataset(np.full((200, 180), 0.5, np.float32), {"prior": "x"}, source)
    assert made.PatientName == "ANONYMOUS^SYNTHETIC"
    assert len(to_plain_bytes(source)) < 100
