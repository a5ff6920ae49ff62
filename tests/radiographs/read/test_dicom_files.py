"""Real DICOM files, from pydicom-data: RG1 is a chest, RG3 an extremity."""

import io
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs import load_radiograph, original_size
from biomedjourney_monai.radiographs.read import dicom_stored
from biomedjourney_monai.radiographs.read.dicom_header import read_header
from biomedjourney_monai.radiographs.read.pixels import read_pixels
from biomedjourney_monai.radiographs.views.check import check_view


def find(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("pydicom-data is not installed")
    return Path(path)


@pytest.fixture(scope="module")
def chest() -> np.ndarray:
    return read_pixels(find("RG1_UNCR.dcm"))


def test_the_chest_is_the_same_in_each_of_its_files(chest):
    assert np.array_equal(read_pixels(find("RG1_J2KR.dcm")), chest)  # reversible JPEG 2000
    lossy = read_pixels(find("RG1_UNCI.dcm"))  # what irreversible JPEG 2000 left, stored plainly
    assert np.array_equal(read_pixels(find("RG1_J2KI.dcm")), lossy)
    assert np.abs(lossy - chest).mean() < 0.003 * (chest.max() - chest.min())
    loaded = [load_radiograph(find(f"RG1_{kind}.dcm"), size=256) for kind in ("UNCR", "UNCI", "J2KR", "J2KI")]
    assert np.abs(np.stack(loaded) - loaded[0]).max() < 0.005
    assert original_size(find("RG1_J2KI.dcm")) == chest.shape


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1])
def test_lossless_transcoding_changes_nothing(chest, tmp_path, syntax):
    dataset = pydicom.dcmread(find("RG1_UNCR.dcm"))
    path = tmp_path / "chest"
    if syntax == JPEGLosslessSV1:
        transcode_with_gdcm(find("RG1_UNCR.dcm"), path)
    else:
        dataset.compress(syntax)
        dataset.save_as(path)
    assert pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(read_pixels(path), chest)


def transcode_with_gdcm(source: Path, path: Path) -> None:
    gdcm = pytest.importorskip("gdcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def test_the_chest_is_inverted_once_and_looks_like_one(chest):
    dataset = pydicom.dcmread(find("RG1_UNCR.dcm"))
    assert dataset.PhotometricInterpretation == "MONOCHROME1"
    assert np.corrcoef(chest.ravel(), dataset.pixel_array.ravel())[0, 1] < -0.9
    assert check_view(load_radiograph(find("RG1_UNCR.dcm"), size=128)).reason == ""


@pytest.mark.parametrize("name", ["RG3_UNCI", "RG3_UNCR", "RG3_J2KI", "RG3_J2KR"])
def test_the_extremity_is_refused_by_header_and_by_pixels(name):
    for refuse in (read_pixels, lambda path: read_header(path, ["PatientID"])):
        with pytest.raises(ImageError, match="CHEST or blank") as caught:
            refuse(find(f"{name}.dcm"))
        assert caught.value.reason == "another part of the body"


def test_the_extremity_is_no_chest_by_image_either(tmp_path):
    dataset = pydicom.dcmread(find("RG3_UNCR.dcm"))
    dataset.BodyPartExamined = ""
    dataset.save_as(tmp_path / "blank")
    assert check_view(load_radiograph(tmp_path / "blank", size=128)).reason != ""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("CT_small.dcm", "another modality"),
        ("MR_small_jp2klossless.dcm", "another modality"),
        ("rtplan.dcm", "another modality"),
        ("test-SR.dcm", "another modality"),
        ("emri_small.dcm", "another modality"),
        ("SC_rgb_2frame.dcm", "several frames"),
    ],
)
def test_other_files_are_refused(name, reason):
    for refuse in (read_pixels, lambda path: read_header(path, ["PatientID"])):
        with pytest.raises(ImageError) as caught:
            refuse(find(name))
        assert caught.value.reason in (reason, "no pixels")


def as_radiograph(name: str, path: Path, **attributes) -> Path:
    """Relabel a fixture as a chest radiograph, so that its codec is met."""
    dataset = pydicom.dcmread(find(name))
    dataset.Modality, dataset.BodyPartExamined = "DX", "CHEST"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize(
    ("compressed", "plain"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("MR_small_implicit.dcm", "MR_small.dcm"),
    ],
)
def test_every_lossless_codec_gives_the_plain_pixels(tmp_path, compressed, plain):
    one = read_pixels(as_radiograph(compressed, tmp_path / "one"))
    assert np.array_equal(one, read_pixels(as_radiograph(plain, tmp_path / "two")))


@pytest.mark.parametrize("name", ["JPGLosslessP14SV1_1s_1f_8b.dcm", "JPEG-LL.dcm", "JPEGLSNearLossless_16.dcm"])
def test_other_codecs_are_read(tmp_path, name):
    pixels = read_pixels(as_radiograph(name, tmp_path / "image"))
    assert pixels.std() > 0


CODECS = {
    "MR_small_jpeg_ls_lossless.dcm": ("JPEG-LS", "pyjpegls", ("jpeg_ls", "gdcm")),
    "JPGLosslessP14SV1_1s_1f_8b.dcm": ("JPEG Lossless", "python-gdcm", ("gdcm",)),
    "MR_small_jp2klossless.dcm": ("JPEG 2000", "pylibjpeg-openjpeg", ("gdcm", "openjpeg", "pillow")),
}


@pytest.mark.parametrize("name", CODECS)
def test_an_absent_codec_is_named_with_its_package(tmp_path, monkeypatch, name):
    syntax_name, package, _modules = CODECS[name]
    path = as_radiograph(name, tmp_path / "image")
    read_pixels(path)
    decoder = pydicom.pixels.get_decoder(pydicom.dcmread(path).file_meta.TransferSyntaxUID)
    monkeypatch.setattr(decoder, "_available", {})  # as on a machine without the packages
    with pytest.raises(ImageError) as caught:
        read_pixels(path)
    assert caught.value.reason == "codec absent"
    assert syntax_name in str(caught.value) and f"Install {package}" in str(caught.value).replace("pylibjpeg and ", "")


def test_a_hidden_package_really_makes_the_codec_absent(tmp_path):
    import subprocess

    path = as_radiograph("MR_small_jpeg_ls_lossless.dcm", tmp_path / "image")
    script = (
        "import sys; sys.modules.update(dict.fromkeys(['gdcm', 'jpeg_ls', 'pylibjpeg', 'libjpeg']))\n"
        "from biomedjourney_monai.radiographs.read.pixels import read_pixels\n"
        f"read_pixels({str(path)!r})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert "Install pyjpegls" in done.stderr and "ImageError" in done.stderr


def test_what_no_installed_decoder_can_do_says_so(tmp_path, caplog):
    path = as_radiograph("JPGExtended.dcm", tmp_path / "image")  # 12 bits
    with pytest.raises(ImageError, match="pylibjpeg-libjpeg") as caught:
        read_pixels(path)
    assert caught.value.reason == "codec absent" and not caplog.records


def test_a_video_says_to_send_it_uncompressed(tmp_path):
    dataset = pydicom.dcmread(find("RG1_UNCR.dcm"))
    with pytest.raises(ImageError, match="uncompressed") as caught:
        dicom_stored._require_decoder(pydicom.uid.MPEG2MPML)
    assert caught.value.reason == "codec absent" and dataset is not None


@pytest.mark.parametrize("name", ["RG1_UNCR.dcm", "RG1_J2KR.dcm"])
@pytest.mark.parametrize("kept", [0.98, 0.5, 0.01])
def test_real_files_cut_short_are_refused(tmp_path, name, kept):
    data = find(name).read_bytes()
    (tmp_path / "cut").write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ImageError):
        read_pixels(tmp_path / "cut")


@pytest.mark.parametrize("name", ["mlut_18.dcm", "vlut_04.dcm"])
def test_real_look_up_tables_agree_with_pydicom(tmp_path, name):
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    path = as_radiograph(name, tmp_path / "image", PhotometricInterpretation="MONOCHROME2")
    dataset = pydicom.dcmread(path)
    theirs = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset).astype(np.float32)
    assert np.corrcoef(read_pixels(path).ravel(), theirs.ravel())[0, 1] > 0.99999


def test_a_patients_name_is_in_no_message(tmp_path):
    dataset = pydicom.dcmread(find("RG1_UNCR.dcm"))
    dataset.PatientName, dataset.NumberOfFrames = "Secret^Name", "2"
    stream = io.BytesIO()
    dataset.save_as(stream)
    (tmp_path / "image").write_bytes(stream.getvalue())
    with pytest.raises(ImageError) as caught:
        read_pixels(tmp_path / "image")
    assert "Secret" not in str(caught.value)
