"""A rendered radiograph, stored in the forms that devices write, is read as the original or refused with a reason."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs import load_radiograph, original_size
from biomedjourney_monai.radiographs.read.dicom_header import is_chest, read_header
from biomedjourney_monai.radiographs.read.pixels import read_pixels

FILES = Path(__file__).parent / "files"
SIDE = 180


@pytest.fixture
def store(tmp_path, dicom_chest):
    """Write the chest with some attributes changed (None removes one); `cells` replace the 12-bit values."""

    def write(cells=None, *, syntax=None, change=None, **attributes) -> Path:
        path = tmp_path / "image.dcm"
        path.write_bytes(dicom_chest())
        dataset = pydicom.dcmread(path)
        if cells is not None:
            dataset.Rows, dataset.Columns = cells.shape
            dataset.PixelData = np.ascontiguousarray(cells).tobytes()
        for name, value in attributes.items():
            if value is None:
                dataset.pop(name, None)
            elif isinstance(value, tuple):  # (VR, value)
                dataset.add_new(name, *value)
            else:
                setattr(dataset, name, value)
        if change is not None:
            change(dataset)
        if syntax is not None:
            dataset.compress(syntax)
        dataset.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture
def values(rendered_chest) -> np.ndarray:
    return np.rint(rendered_chest * 4095).astype("<u2")


def assert_reads_as(path, image, *, at_least=0.98):
    read_header(path, ["PatientID"])
    pixels = read_pixels(path)
    assert pixels.shape == image.shape == original_size(path)
    assert np.corrcoef(pixels.ravel(), image.ravel())[0, 1] > at_least
    assert load_radiograph(path, size=64).shape == (64, 64)


def reason_of(path, *, by_header=True) -> str:
    with pytest.raises(ImageError) as caught:
        read_pixels(path)
    if by_header:
        with pytest.raises(ImageError) as by_cohort:
            read_header(path, ["PatientID"])
        assert by_cohort.value.reason == caught.value.reason
    assert "Fetch it again" not in str(caught.value)
    return caught.value.reason


def palette(tables, *, bits, first=0, data_bits=None):
    def change(dataset):
        dataset.PhotometricInterpretation = "PALETTE COLOR"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = (8, 8, 7)
        for colour, table in zip(("Red", "Green", "Blue"), tables, strict=True):
            name = f"{colour}PaletteColorLookupTable"
            dataset.add_new(f"{name}Descriptor", "US", [len(table) % 65536, first, bits])
            dataset.add_new(f"{name}Data", "OW", table.astype(f"<u{(data_bits or bits) // 8}").tobytes())

    return change


@pytest.mark.parametrize("bits", [8, 16])
def test_a_grey_palette_is_applied(store, rendered_chest, bits):
    falling = np.linspace(2**bits - 1, 0, 256).round().astype(int)
    path = store(np.rint((1 - rendered_chest) * 255).astype("u1"), change=palette([falling] * 3, bits=bits))
    assert_reads_as(path, rendered_chest, at_least=0.999)


def test_a_shuffled_palette_and_one_with_a_first_value_are_applied(store, rendered_chest):
    order = np.random.default_rng(0).permutation(200)
    cells = (order[np.rint(rendered_chest * 199).astype(int)] + 20).astype("u1")
    path = store(cells, change=palette([np.argsort(order) * 300] * 3, bits=16, first=20))
    assert_reads_as(path, rendered_chest, at_least=0.999)


def test_a_coloured_a_short_and_a_missing_palette_are_refused(store, rendered_chest):
    cells, ramp = np.rint(rendered_chest * 255).astype("u1"), np.arange(256)
    assert reason_of(store(cells, change=palette([ramp, ramp[::-1], ramp], bits=8))) == "palette missing or coloured"
    short = palette([ramp] * 3, bits=8)

    def cut(dataset):
        short(dataset)
        dataset.GreenPaletteColorLookupTableData = bytes(100)

    assert reason_of(store(cells, change=cut)) == "image damaged"
    attributes = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PhotometricInterpretation": "PALETTE COLOR"}
    assert reason_of(store(cells, **attributes)) == "palette missing or coloured"


@pytest.mark.parametrize("syntax", [None, RLELossless])
@pytest.mark.parametrize("noise", [0, 0x000F])
def test_pixels_in_the_high_bits_are_taken_from_there(store, values, syntax, noise):
    assert_reads_as(store(values << 4 | noise, HighBit=15, syntax=syntax), values, at_least=0.9999)


def test_an_overlay_below_and_above_the_pixels_is_removed(store, values):
    box = np.zeros(values.shape, "<u2")
    box[40:90, 30:120] = 1
    assert_reads_as(store(values << 2 | box | box << 15, HighBit=13), values, at_least=0.9999)


def test_a_high_bit_that_the_pixels_do_not_follow_is_ignored(store, values):
    assert np.array_equal(read_pixels(store(values, HighBit=15)), values)


@pytest.mark.parametrize("bits", [(16, 12, 8), (16, 12, 16), (12, 12, 11)])
def test_bits_that_contradict_each_other_are_refused(store, bits):
    assert reason_of(store(**dict(zip(("BitsAllocated", "BitsStored", "HighBit"), bits, strict=True)))) == (
        "bits inconsistent"
    )


@pytest.mark.parametrize("bits", [13, 14, 16])
def test_values_that_wrap_around_in_bits_stored_are_refused(store, rendered_chest, bits):
    assert (
        reason_of(store(np.rint(rendered_chest * (2**bits - 1)).astype("<u2")), by_header=False) == "bits inconsistent"
    )


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_an_overlay_in_compressed_pixels_is_removed(store, values, syntax):
    cells = values.copy()
    cells[30:80, 20:140] |= 0x9000

    def compress(dataset):  # the codestream has 16 bits, the header 12
        dataset.BitsStored, dataset.HighBit = 16, 15
        dataset.compress(syntax)
        dataset.BitsStored, dataset.HighBit = 12, 11

    assert_reads_as(store(cells, change=compress), values, at_least=0.9999)


def test_the_overlay_bits_of_a_jpeg_2000_file_are_removed():
    pixels = read_pixels(FILES / "j2k_overlay.dcm")
    assert pixels.max() <= 4095 and np.abs(np.diff(pixels, axis=0)).max() < 2500


@pytest.mark.parametrize(
    "attributes",
    [
        {"PixelAspectRatio": ("IS", [1, 2])},
        {"PixelSpacing": [0.2, 0.4]},
        {"ImagerPixelSpacing": [0.2, 0.4]},
        {"ImagerPixelSpacing": [0.2, 0.4], "PixelSpacing": [0.19, 0.38]},
        {"NominalScannedPixelSpacing": [0.2, 0.4]},
    ],
)
def test_pixels_become_square(store, rendered_chest, values, attributes):
    attributes.setdefault("PixelSpacing", None)
    attributes.setdefault("ImagerPixelSpacing", [0, 0])
    path = store(values.reshape(SIDE, SIDE // 2, 2).mean(axis=2).astype("<u2"), **attributes)
    assert_reads_as(path, rendered_chest)


def test_tall_pixels_become_square_and_rounded_spacings_count_as_equal(store, rendered_chest, values):
    tall = values.reshape(SIDE // 2, 2, SIDE).mean(axis=1).astype("<u2")
    assert_reads_as(store(tall, PixelSpacing=[0.4, 0.2]), rendered_chest)
    assert np.array_equal(read_pixels(store(PixelSpacing=[0.143, 0.1431])), values)


@pytest.mark.parametrize("spacings", [([0.2, 0.2], [0.2, 0.4]), ([0.2, 30], [0.2, 30])])
def test_unclear_pixel_shapes_are_refused(store, spacings):
    assert reason_of(store(PixelSpacing=spacings[0], ImagerPixelSpacing=spacings[1])) == "pixel shape unclear"


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_an_inverse_presentation_is_inverted_once(store, values, photometric):
    path = store(4095 - values, PhotometricInterpretation=photometric, PresentationLUTShape="INVERSE")
    assert_reads_as(path, values, at_least=0.9999)


@pytest.mark.parametrize(
    ("is_signed", "stored", "padding"),
    [
        (False, 16, ("SS", -1)),
        (False, 12, ("SS", -1)),
        (False, 12, ("US", 65535)),
        (True, 16, ("US", 63536)),
        (True, 12, ("US", 63536)),
    ],
)
def test_padding_in_the_other_sign_is_found(store, values, is_signed, stored, padding):
    border = np.ones(values.shape, bool)
    border[40:, 40:] = False
    content = values.astype(np.int64) // 4
    cells = np.where(border, (padding[1] + 65536) % 65536, content)
    attributes = {"PixelRepresentation": int(is_signed), "BitsStored": stored, "HighBit": stored - 1}
    pixels = read_pixels(store(cells.astype("<u2"), PixelPaddingValue=padding, **attributes))
    assert np.array_equal(pixels, np.where(border, content[~border].min(), content))


@pytest.mark.parametrize(
    ("stored", "below", "cell", "padding"),
    [
        (10, 0, 1023, ("US", 65535)),  # all ones of the cell, where the pixels hold all ones of their bits
        (10, 0, 1023, ("SS", -1)),
        (12, 4, 4095, ("US", 4095)),  # not moved up to HighBit as the pixels are
        (12, 4, 4095 << 4, ("US", 4095 << 4)),
        (12, 4, 4095 << 4, ("SS", (4095 << 4) - 65536)),
        (12, 4, 65535, ("US", 65535)),
        (12, 4, 4095 << 4, ("US", 4095)),
        (12, 4, 4095, ("US", 65535)),  # neither moved up nor written as it is
    ],
)
def test_padding_in_the_units_of_the_cell_or_of_the_pixel_is_found(store, values, stored, below, cell, padding):
    border = np.ones(values.shape, bool)
    border[40:, 40:] = False
    content = values.astype(np.int64) >> (13 - stored)
    cells = np.where(border, cell, content << below).astype("<u2")
    bits = {"BitsStored": stored, "HighBit": stored - 1 + below}
    pixels = read_pixels(store(cells, PixelPaddingValue=padding, **bits))
    assert np.array_equal(pixels, np.where(border, content[~border].min(), content))


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
@pytest.mark.parametrize("kept", [0.4, 0.97])
def test_a_codestream_that_is_cut_within_a_whole_file_is_named_as_missing_bytes(store, syntax, kept):
    path = store(syntax=syntax)
    dataset = pydicom.dcmread(path)
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = pydicom.encaps.encapsulate([frame[: int(len(frame) * kept) // 2 * 2]])
    dataset.save_as(path)
    with pytest.raises(ImageError, match=r"must be whole; found .*Fetch it again") as caught:
        read_pixels(path)
    assert caught.value.reason == "image damaged"


@pytest.mark.parametrize("change", [{"Columns": SIDE - 1}, {"Rows": SIDE // 2}])
def test_pixels_that_are_more_than_the_header_states_are_refused(store, change):
    assert reason_of(store(**change)) == "image damaged"


def test_a_colour_space_in_small_letters_and_with_spaces_is_read(store, values):
    path = store()
    path.write_bytes(path.read_bytes().replace(b"MONOCHROME2 ", b" monochrome2"))
    assert np.array_equal(read_pixels(path), values)


@pytest.mark.parametrize("text", ["NaN", "2047,5", "[2048]", "UNDEFINED", "2048//1500", "inf", ""])
@pytest.mark.parametrize("keywords", [("WindowCenter", "WindowWidth"), ("WindowCenter",), ("WindowWidth",)])
def test_a_window_that_is_not_a_number_is_ignored(store, values, text, keywords):
    path = store(WindowCenter="1111.1", WindowWidth="2222.2")
    data = path.read_bytes()
    for keyword in keywords:
        number = b"1111.1" if keyword == "WindowCenter" else b"2222.2"
        tag = b"(\0\x50\x10" if keyword == "WindowCenter" else b"(\0\x51\x10"
        padded = text.encode() + b" " * (len(text) % 2)
        old = tag + b"DS" + len(number).to_bytes(2, "little") + number
        assert old in data
        data = data.replace(old, tag + b"DS" + len(padded).to_bytes(2, "little") + padded)
    path.write_bytes(data)
    assert np.array_equal(read_pixels(path), values)


def test_a_spacing_with_decimal_commas_is_read(store, rendered_chest, values):
    path = store(values.reshape(SIDE, SIDE // 2, 2).mean(axis=2).astype("<u2"), PixelSpacing=[0.25, 0.5])
    path.write_bytes(path.read_bytes().replace(b"0.25\\0.5", b"0,25\\0,5"))
    assert_reads_as(path, rendered_chest)


def test_a_rescale_that_is_not_a_number_is_refused(store):
    path = store(RescaleSlope="1.25", RescaleIntercept="0")
    path.write_bytes(path.read_bytes().replace(b"1.25", b"1,25"))
    assert reason_of(path) == "header unreadable"


@pytest.mark.parametrize("keyword", ["BitsStored", "PhotometricInterpretation", "PixelRepresentation"])
def test_a_header_that_lacks_what_decoding_needs_is_named(store, keyword):
    path = store(**{keyword: None})
    assert reason_of(path) == "header incomplete"
    with pytest.raises(ImageError, match=keyword):
        read_pixels(path)


def test_an_unknown_colour_space_is_refused(store):
    assert reason_of(store(PhotometricInterpretation="HSV")) == "colour space unknown"


def test_a_missing_preamble_and_a_missing_transfer_syntax_are_named(store):
    path = store()
    data = path.read_bytes()
    path.write_bytes(data[132:])
    assert reason_of(path) == "preamble missing"
    dataset = pydicom.Dataset(pydicom.dcmread(store()))
    pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True)
    assert reason_of(path) == "preamble missing"
    syntax = b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
    assert syntax in data
    path.write_bytes(data.replace(syntax, b""))
    assert reason_of(path) == "transfer syntax missing"
    path.write_bytes(data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.99999.1.2.1\0"))
    assert reason_of(path) == "transfer syntax unknown"


def test_only_a_file_with_missing_bytes_is_to_be_fetched_again(store):
    path = store()
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ImageError, match="Fetch it again"):
        read_pixels(path)


@pytest.mark.parametrize(
    "text",
    [
        "T\u00c3\u0093RAX",
        "",
        "CHEST PA",
        "TORAX",
        "THORAX_PA",
        "Thorax",
        "TÓRAX AP",
        "CHESTPA",
        "LUNGS",
        "CHEST 1V PORTABLE",
    ],
)
def test_other_words_for_the_chest_are_understood(text):
    assert is_chest(text)


@pytest.mark.parametrize("text", ["HAND", "THORACIC SPINE", "CHEST ABDOMEN", "PA", "RIBS", "TSPINE", "HEAD LAT"])
def test_other_parts_of_the_body_are_not_taken_for_the_chest(text):
    assert not is_chest(text)


def test_another_part_of_the_body_is_read_only_on_request(store, values):
    path = store(BodyPartExamined="UPPER TRUNK")
    assert reason_of(path) == "another part of the body"
    assert np.array_equal(read_pixels(path, any_body_part=True), values)


def test_a_high_bit_too_high_with_an_overlay_above_is_seen_through(store, values):
    cells = values.copy()
    cells[30:80, 20:140] |= 0x4000
    assert np.array_equal(read_pixels(store(cells, HighBit=13)), values)
