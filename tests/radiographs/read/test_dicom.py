import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.pixels import apply_windowing
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, RLELossless, generate_uid

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs import load_radiograph, original_size
from biomedjourney_monai.radiographs.read.dicom_header import read_header
from biomedjourney_monai.radiographs.read.pixels import read_pixels

RAMP = np.linspace(0, 4095, 40 * 30).reshape(40, 30).astype(np.uint16)


@pytest.fixture
def write(tmp_path):
    """Write a chest radiograph of RAMP with some attributes changed; None removes one."""

    def write_dataset(pixels=RAMP, *, syntax=ExplicitVRLittleEndian, **attributes):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "DX", "CHEST", "PA"
        dataset.PresentationIntentType = "FOR PRESENTATION"
        dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "MONOCHROME2", 1
        dataset.Rows, dataset.Columns = pixels.shape[-2:]
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
        dataset.PixelData = np.ascontiguousarray(pixels, "<u2").tobytes()
        for name, value in attributes.items():
            if value is None:
                delattr(dataset, name)
            else:
                setattr(dataset, name, value)
        if syntax != ExplicitVRLittleEndian:
            dataset.compress(syntax)
        dataset.save_as(tmp_path / "image.dcm", enforce_file_format=True)
        return tmp_path / "image.dcm"

    return write_dataset


def look_up_table(values: np.ndarray, *, first: int = 0, bits: int = 16) -> Sequence:
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [len(values) % 65536, first, bits])
    item.add_new("LUTData", "OW", values.astype("<u2").tobytes())
    return Sequence([item])


def test_pixels_come_as_stored(write):
    path = write()
    assert np.array_equal(read_pixels(path), RAMP)
    assert original_size(path) == (40, 30)
    assert load_radiograph(path, size=32).shape == (32, 32)


def test_monochrome1_is_turned_over_once(write):
    assert np.array_equal(read_pixels(write(PhotometricInterpretation="MONOCHROME1")), 4095 - RAMP.astype(float))


def test_a_compressed_file_reads_the_same(write):
    assert np.array_equal(read_pixels(write(syntax=RLELossless)), RAMP)


def test_rescale_then_window(write):
    pixels = read_pixels(write(RescaleSlope=2, RescaleIntercept=-100, WindowCenter=1000, WindowWidth=400))
    assert np.allclose(pixels, np.clip(RAMP * 2.0 - 100, 800, 1199))


def test_an_exact_linear_window_has_its_full_width(write):
    pixels = read_pixels(write(WindowCenter=1000, WindowWidth=400, VOILUTFunction="LINEAR_EXACT"))
    assert pixels.min() == 800 and pixels.max() == 1200


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_agree_with_pydicom_up_to_scale(write, function):
    path = write(WindowCenter=1500, WindowWidth=700, VOILUTFunction=function)
    dataset = pydicom.dcmread(path)
    theirs = apply_windowing(RAMP, dataset)
    assert np.corrcoef(read_pixels(path).ravel(), theirs.ravel())[0, 1] > 0.999999


def test_of_several_windows_the_first_counts(write):
    pixels = read_pixels(write(WindowCenter=[1000, 2000], WindowWidth=[400, 4000]))
    assert pixels.min() == 800 and pixels.max() == 1199


def test_a_window_of_zero_width_is_ignored(write):
    assert np.array_equal(read_pixels(write(WindowCenter=1000, WindowWidth=0)), RAMP)


def test_a_sigmoid_window_follows_the_standard(write):
    pixels = read_pixels(write(WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID"))
    assert np.allclose(pixels, 1 / (1 + np.exp(-4 * (RAMP.astype(float) - 2000) / 1000)), atol=1e-4)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_look_up_tables_of_any_depth_apply(write, bits):
    table = np.linspace(2**bits - 1, 0, 4096).astype(int)  # falling, 4,096 entries
    for name in ("VOILUTSequence", "ModalityLUTSequence"):
        pixels = read_pixels(write(**{name: look_up_table(table, bits=bits)}))
        assert np.array_equal(pixels, table[RAMP])


@pytest.mark.parametrize("name", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize("bits", [8, 16])
def test_look_up_tables_of_big_endian_files_apply(write, tmp_path, name, bits):
    table = np.linspace(2**bits - 1, 0, 4096).astype(int)
    words = table.astype("u1").view("<u2") if bits == 8 else table  # 8-bit entries: two in a word, the low byte first
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [len(table), 0, bits])
    item.add_new("LUTData", "OW", words.astype(">u2").tobytes())
    dataset = pydicom.dcmread(write(**{name: Sequence([item])}))
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset.PixelData = RAMP.astype(">u2").tobytes()
    dataset["PixelData"].VR = "OW"
    pydicom.dcmwrite(tmp_path / "big.dcm", dataset, implicit_vr=False, little_endian=False, force_encoding=True)
    assert pydicom.dcmread(tmp_path / "big.dcm").original_encoding == (False, False)
    assert np.array_equal(read_pixels(tmp_path / "big.dcm"), table[RAMP])


def test_values_outside_a_table_take_its_ends(write):
    pixels = read_pixels(write(VOILUTSequence=look_up_table(np.arange(100) + 7, first=1000)))
    assert pixels.min() == 7 and pixels.max() == 106


def test_padding_does_not_stretch_the_scale(write):
    pixels = RAMP.copy()
    pixels[:5] = 4095
    loaded = read_pixels(write(pixels, PixelPaddingValue=4095, PhotometricInterpretation="MONOCHROME1"))
    assert loaded[:5].max() == loaded[5:].min()


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"BodyPartExamined": "HAND"}, "another part of the body"),
        ({"Modality": "CT"}, "another modality"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "for processing"),
        ({"PixelData": None}, "no pixels"),
        ({"Rows": None}, "image damaged"),
        ({"NumberOfFrames": 2}, "several frames"),
    ],
)
def test_unsuitable_files_are_refused_by_header_and_by_pixels(write, attributes, reason):
    path = write(np.stack([RAMP, RAMP]) if "NumberOfFrames" in attributes else RAMP, **attributes)
    for refuse in (load_radiograph, lambda path: read_header(path, ["PatientID"])):
        with pytest.raises(ImageError) as caught:
            refuse(path)
        assert caught.value.reason == reason


def test_the_header_comes_without_pixels_and_with_what_was_asked_for(write):
    path = write(PatientID="x", PatientName="y")
    header = read_header(path, ["PatientID", "StudyDate"])
    assert header.PatientID == "x" and "PixelData" not in header and "PatientName" not in header


def test_the_header_tells_a_file_that_is_cut_short(write):
    path = write()
    data = path.read_bytes()
    for kept, reason in (
        (len(data) - 1, "image damaged"),
        (200, "image damaged"),
        (100, "not DICOM"),
        (0, "image file empty"),
    ):
        path.write_bytes(data[:kept])
        with pytest.raises(ImageError) as caught:
            read_header(path, ["PatientID"])
        assert caught.value.reason == reason


def test_overlays_are_not_burned_in(write):
    path = write()
    dataset = pydicom.dcmread(path)
    height, width = RAMP.shape
    for element, vr, value in (
        (0x0010, "US", height),
        (0x0011, "US", width),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]),
        (0x0100, "US", 1),
        (0x0102, "US", 0),
        (0x3000, "OW", b"\xff" * (height * width // 8)),
    ):
        dataset.add_new((0x6000, element), vr, value)
    dataset.save_as(path)
    assert pydicom.dcmread(path).overlay_array(0x6000).all()
    assert np.array_equal(read_pixels(path), RAMP)


def test_an_overlay_in_the_unused_bits_is_not_seen(write):
    assert np.array_equal(read_pixels(write(RAMP | 0x8000)), RAMP)


def test_a_spacing_of_zero_does_no_harm(write):
    assert np.array_equal(read_pixels(write(PixelSpacing=[0, 0], ImagerPixelSpacing=[0, 0])), RAMP)


def test_a_slope_of_zero_counts_as_one(write):
    assert np.array_equal(read_pixels(write(RescaleIntercept=10, RescaleSlope=0)), RAMP + 10.0)


def test_a_range_of_padding_is_masked_in_stored_values_before_the_rescale(write):
    pixels = RAMP.copy()
    pixels[:5, :] = 5
    pixels[5, :] = 7
    loaded = read_pixels(
        write(pixels, PixelPaddingValue=5, PixelPaddingRangeLimit=7, RescaleSlope=-1, RescaleIntercept=0)
    )
    content = -pixels[6:].astype(float)
    assert np.array_equal(loaded[6:], content) and (loaded[:6] == content.min()).all()


@pytest.mark.parametrize("kept", [0.9, 0.3, 0.12])
def test_truncated_files_are_refused(write, kept):
    path = write()
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ImageError):
        load_radiograph(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(132, 1200), value=st.integers(0, 255))
def test_one_wrong_byte_never_crashes(write, place, value):
    path = write(WindowCenter=1000, WindowWidth=400)
    data = bytearray(path.read_bytes())
    data[place] = value
    path.write_bytes(data)
    try:
        image = load_radiograph(path, size=32)
    except ImageError:
        return
    assert image.shape == (32, 32) and 0 <= image.min() <= image.max() <= 1
