import io
import json
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from biomedjourney_monai.clinic.web import request as page_request
from biomedjourney_monai.clinic.web import upload_reader
from biomedjourney_monai.clinic.web.request import LimitError, RequestError, parse_request, read_upload
from biomedjourney_monai.errors import BiomedJourneyError, ImageError
from biomedjourney_monai.radiographs import NOT_FOR_DIAGNOSIS, load_radiograph, save_png

ASKED = {
    "description": "  New   edema.\n",
    "seed": 3,
    "steps": 10,
    "samples": 2,
    "text_guidance_scale": 3,
    "image_guidance_scale": 1.5,
    "region": "box",
    "box": [0.1, -1, 0.5, 2],
    "force": True,
}


def parse(**changes):
    return parse_request(json.dumps(ASKED | changes).encode())


def test_a_request_is_read():
    request = parse()
    assert request.description == "New edema."
    assert (request.seed, request.steps, request.samples) == (3, 10, 2)
    assert (request.text_guidance_scale, request.image_guidance_scale) == (3.0, 1.5)
    assert request.box == (0.1, 0.0, 0.5, 1.0)
    assert request.force


def test_a_box_is_only_looked_at_where_it_is_asked_for():
    assert parse(region="auto", box="nonsense").box is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"description": 7}, "description"),
        ({"description": "x" * 1001}, "description"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**60}, "seed"),
        ({"seed": True}, "seed"),
        ({"steps": 0}, "steps"),
        ({"steps": 101}, "steps"),
        ({"steps": None}, "steps"),
        ({"samples": 17}, "samples"),
        ({"samples": 1.5}, "samples"),
        ({"text_guidance_scale": -0.1}, "text_guidance_scale"),
        ({"text_guidance_scale": float("nan")}, "text_guidance_scale"),
        ({"image_guidance_scale": float("inf")}, "image_guidance_scale"),
        ({"image_guidance_scale": "3"}, "image_guidance_scale"),
        ({"region": "../../x"}, "region"),
        ({"box": None}, "box"),
        ({"box": [0, 0, 0, 1]}, "box"),
        ({"box": [0, 0, float("nan"), 1]}, "box"),
    ],
)
def test_what_the_form_does_not_send_is_refused_without_its_content(changes, named):
    with pytest.raises(RequestError) as caught:
        parse(**changes)
    assert named in str(caught.value)
    assert "../" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(data):
    with pytest.raises(RequestError, match="a request must be"):
        parse_request(data)


def test_a_request_is_shown_without_its_description():
    assert "edema" not in repr(parse())


NAME = "ZZTOP^HERMINE"


def draw(height=150, width=130):
    rows, columns = np.mgrid[:height, :width]
    return ((rows * 2 + columns) % 256).astype(np.uint8)


def as_file(image, kind="PNG"):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format=kind)
    return stream.getvalue()


def endless_zeros(count):
    """`count` zeros or somewhat more, deflated; made of one block again and again, so that it is quickly made."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (-(-count >> 20)) + packer.flush()


def huge_png(width=30_000, height=30_000):
    """A PNG of one grey: 900 million pixels in about a megabyte."""
    body = b"\x78\x9c" + endless_zeros(height * (width + 1))

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def dicom(pixels=None, *, syntax=ExplicitVRLittleEndian, **values):
    image = draw() if pixels is None else pixels
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    content = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1",
        "SOPInstanceUID": "1.2.826.0.1.3680043.8.498.1.3",
        "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1.1",
        "PatientName": NAME,
        "PatientID": "MRN98765",
        "Modality": "CR",
        "Rows": image.shape[-2],
        "Columns": image.shape[-1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "PixelData": image.tobytes(),
    }
    for keyword, value in (content | values).items():
        setattr(dataset, keyword, value)
    dataset["PixelData"].VR = "OB"
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def deflated_bomb():
    """A DICOM file whose deflated part unfolds to eight gigabytes."""
    whole = dicom(syntax=DeflatedExplicitVRLittleEndian)
    start = 132 + 12 + struct.unpack("<I", whole[140:144])[0]  # preamble, group length, the rest of group 2
    return whole[:start] + endless_zeros(8 << 30)


def zip_bomb():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.png", bytes(50_000_000))
    return stream.getvalue()


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path, monkeypatch):
    """No test here leaves a file where temporary files go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.rglob("*")) == []


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "DICOM"])
def test_an_upload_is_read_as_a_file_is(kind, tmp_path):
    data = dicom() if kind == "DICOM" else as_file(draw(), kind)
    (tmp_path / "image").write_bytes(data)
    upload = read_upload(data, size=64)
    assert np.array_equal(upload.image, load_radiograph(tmp_path / "image", size=64))
    assert upload.original_hw == (150, 130)
    assert upload.preview is None
    assert bool(upload.source) == (kind in ("DICOM", "JPEG"))  # of a JPEG file that it was compressed with loss


def test_a_preview_is_small_and_keeps_its_shape():
    upload = read_upload(as_file(draw(1500, 3000)), size=64, with_preview=True)
    assert upload.original_hw == (1500, 3000)
    assert upload.preview.shape == (512, 1024)
    assert (upload.preview.min(), upload.preview.max()) == (0, 255)


@pytest.mark.parametrize("tagged", ["BurnedInAnnotation", "synthetic"])
def test_what_dicom_says_of_itself_is_told(tagged):
    values = {"BurnedInAnnotation": "YES"} if tagged == "BurnedInAnnotation" else {}
    data = dicom(**values)
    if tagged == "synthetic":
        dataset = Dataset()
        dataset.add_new(0x0008001C, "CS", "YES")
        stream = io.BytesIO()
        dataset.save_as(stream, implicit_vr=False, little_endian=True)
        place = data.index(b"\x08\x00\x60\x00")  # before Modality, in order of the tags
        data = data[:place] + stream.getvalue() + data[place:]
    upload = read_upload(data, size=64)
    assert upload.has_burned_in_text == (tagged == "BurnedInAnnotation")
    assert upload.is_synthetic == (tagged == "synthetic")


def test_what_this_package_made_is_known_again(tmp_path):
    save_png(tmp_path / "made.png", draw(), metadata={"Comment": NOT_FOR_DIAGNOSIS})
    assert read_upload((tmp_path / "made.png").read_bytes(), size=64).is_marked
    assert not read_upload(as_file(draw()), size=64).is_marked


NO_IMAGES = {
    "empty": b"",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "html": b"<!doctype html><script>alert(1)</script>",
    "zip bomb": zip_bomb(),
    "nifti": bytes(344) + b"n+1\0" + bytes(100),
}


@pytest.mark.parametrize("name", NO_IMAGES)
def test_what_is_no_image_is_refused_before_anything_reads_it(name, monkeypatch):
    monkeypatch.setattr(page_request.subprocess, "run", None)  # no child process is started
    with pytest.raises(ImageError, match=r"must (be a JPEG, PNG or DICOM image|not be empty)"):
        read_upload(NO_IMAGES[name], size=64)


def test_too_many_bytes_are_refused_before_anything_reads_them(monkeypatch):
    monkeypatch.setattr(page_request.subprocess, "run", None)
    with pytest.raises(LimitError, match="at most 64 MB"):
        read_upload(b"\x89PNG\r\n\x1a\n" + bytes(page_request.MAX_BYTES), size=64)


def test_a_picture_of_900_million_pixels_is_refused_by_its_header():
    data = huge_png()
    assert len(data) < 2**21
    with pytest.raises(ImageError, match="must have at most") as caught:
        read_upload(data, size=64)
    assert caught.value.reason == "image too large"


def test_more_pixels_than_a_detector_has_are_refused():
    with pytest.raises(ImageError, match=r"at most 40,000,000 pixels; found 8,000 × 6,000"):
        read_upload(huge_png(8000, 6000), size=64)


def test_a_dicom_file_of_10000_frames_is_refused():
    data = dicom(np.zeros((10_000, 16, 16), np.uint8), NumberOfFrames=10_000)
    with pytest.raises(ImageError, match="10000 frames"):
        read_upload(data, size=64)


def test_a_dicom_file_that_unfolds_without_end_is_refused():
    data = deflated_bomb()
    assert len(data) < page_request.MAX_BYTES
    with pytest.raises(BiomedJourneyError, match=r"found MemoryError|bounded time and memory|readable within"):
        read_upload(data, size=64)


@pytest.mark.parametrize("data", [as_file(draw())[:90], dicom()[:400], as_file(draw(), "JPEG")[:300]])
def test_a_damaged_file_is_refused(data):
    with pytest.raises(ImageError, match=r"must (be whole|have a size)"):
        read_upload(data, size=64)


def test_a_file_that_takes_too_long_is_given_up():
    with pytest.raises(LimitError, match=r"readable within 0.01 seconds"):
        read_upload(as_file(draw()), size=64, seconds=0.01)


def test_a_decoder_that_breaks_is_no_more_than_a_refusal(monkeypatch):
    monkeypatch.setitem(upload_reader.ENVIRONMENT, "PYTHONPATH", "/nowhere")
    monkeypatch.setattr(page_request.sys, "executable", "/bin/false")
    with pytest.raises(ImageError, match="breaks its decoder"):
        read_upload(as_file(draw()), size=64)


def test_names_and_tags_stay_what_they_are(tmp_path):
    from biomedjourney_monai.radiographs.write.dicom_source import from_plain_bytes

    data = dicom(PatientName="<script>alert(1)</script>", PatientID="../../x", AccessionNumber="../../../etc")
    upload = read_upload(data, size=64)
    source = from_plain_bytes(upload.source)
    assert str(source.PatientName) == "<script>alert(1)</script>"
    assert source.PatientID == "../../x"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["temporary"]


def test_a_header_of_unusual_size_is_refused():
    with pytest.raises(ImageError, match="usual size"):
        read_upload(dicom(StudyDescription="x" * 100_000), size=64)


def test_refusals_name_no_patient():
    with pytest.raises(ImageError) as caught:
        read_upload(dicom(PatientName=NAME, Modality="MR"), size=64)
    assert "ZZTOP" not in str(caught.value)
    assert "MRN" not in str(caught.value)


def test_a_file_in_memory_has_no_name():
    with page_request._as_nameless_file(b"content") as stream:
        assert Path(f"/proc/self/fd/{stream.fileno()}").read_bytes() == b"content"
        assert "deleted" in str(Path(f"/proc/self/fd/{stream.fileno()}").readlink())


def test_another_part_of_the_body_is_read_and_named():
    assert read_upload(dicom(BodyPartExamined="HAND"), size=64).other_body_part == "HAND"
    assert read_upload(dicom(BodyPartExamined="TORAX"), size=64).other_body_part == ""


def test_a_missing_preamble_is_named():
    with pytest.raises(ImageError, match="128 bytes and DICM") as caught:
        read_upload(dicom()[132:], size=64)
    assert caught.value.reason == "preamble missing"
