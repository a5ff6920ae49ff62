"""Counterfactuals as DICOM, judged by dciodvfy (Debian's dicom3tools), pydicom and this package's own reader."""

import logging
import shutil
import stat
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from biomedjourney_monai.errors import BiomedJourneyError, ImageError
from biomedjourney_monai.radiographs import load_radiograph, mark_synthetic, original_size, save_png
from biomedjourney_monai.radiographs.read.pixels import read_pixels
from biomedjourney_monai.radiographs.write import dicom as dicom_out
from biomedjourney_monai.radiographs.write.deidentify import Pseudonyms, read_or_make_key
from biomedjourney_monai.radiographs.write.dicom_source import UIDS, read_source

FACTS = {
    "Comment": "SYNTHETIC - NOT FOR DIAGNOSIS",
    "Software": "biomedjourney_monai 0.1.0",
    "model": "a" * 64,
    "steps": 20,
    "text_guidance_scale": 3.0,
    "image_guidance_scale": 1.5,
    "seed": 4,
    "prior": "0123456789abcdef",
    "progression_description": "New small left pleural effusion.",
}
KEY = Pseudonyms(b"k" * 32)
HOSTILE = ("<script>alert(1)</script>", "../../x", "Müller^Jörg", "Doe=太郎=たろう", "a\\b", "x" * 300)
SECRETS = ("DOE", "JANE", "MRN", "20200102", "ACC77", "WARD", "1.2.826.0.1.3680043.8.498.1")


@pytest.fixture
def picture():
    return np.random.default_rng(0).random((200, 180)).astype(np.float32)


def make_source(**values) -> Dataset:
    source = Dataset()
    content = {
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
        "StudyID": "ACC77",
        "AccessionNumber": "ACC77",
        "ReferringPhysicianName": "WARD^DR",
        "StudyDescription": "CHEST OF DOE",
        "PatientOrientation": ["L", "F"],
        "PixelSpacing": [0.2, 0.2],
    }
    for keyword, value in (content | values).items():
        setattr(source, keyword, value)
    return source


def judge(path) -> list[str]:
    """The errors that dciodvfy finds, but for one: Debian's is older than SyntheticData (0008,001C)."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed: apt-get install dicom3tools")
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, timeout=60)
    said = (done.stdout + done.stderr).splitlines()
    assert "SCImage" in said
    newer = "Error - Attribute with an even group number is not a recognized standard attribute - (0x0008,0x001c)"
    return [line for line in said if line.startswith("Error") and not line.startswith(newer)]


SOURCES = {
    "radiograph": make_source,
    "real CR": lambda: read_source(find("RG1_UNCR.dcm")),
    "no DICOM": lambda: None,
    "poor": lambda: make_source(
        PixelSpacing=[0, 0], StudyID="", PatientOrientation=["X", "9"], PatientSex="female", AccessionNumber="A" * 40
    ),
}


def find(name):
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("pydicom-data is not installed")
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pseudonyms", [None, KEY], ids=["in house", "export"])
@pytest.mark.parametrize("kind", SOURCES)
def test_the_validator_finds_no_error(picture, tmp_path, kind, pseudonyms):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)
        source = SOURCES[kind]()
    path = tmp_path / "made.dcm"
    dicom_out.save_dicom(path, dicom_out.counterfactual_dataset(picture, FACTS, source, pseudonyms=pseudonyms))
    assert judge(path) == []


def test_the_validator_would_find_one(picture, tmp_path):
    dataset = dicom_out.counterfactual_dataset(picture, FACTS)
    del dataset.ConversionType
    dicom_out.save_dicom(tmp_path / "made.dcm", dataset)
    assert any("ConversionType" in line for line in judge(tmp_path / "made.dcm"))


def test_it_says_everywhere_that_it_is_synthetic_and_how_it_was_made(picture):
    dataset = dicom_out.counterfactual_dataset(picture, FACTS, make_source())
    assert dataset["SyntheticData"].value == "YES"
    assert list(dataset.ImageType) == ["DERIVED", "SECONDARY"]
    assert (dataset.ConversionType, dataset.BurnedInAnnotation) == ("SYN", "YES")
    assert dataset.SeriesDescription == dataset.ImageComments == "SYNTHETIC - NOT FOR DIAGNOSIS"
    told = dataset.DerivationDescription
    for words in ("0.1.0", "model " + "a" * 64, "seed 4", "text_guidance_scale 3.0", "image_guidance_scale 1.5"):
        assert words in told
    assert told.endswith("description: New small left pleural effusion.")


def test_it_joins_the_study_of_its_prior_and_refers_to_it(picture):
    source = make_source()
    dataset = dicom_out.counterfactual_dataset(picture, FACTS, source)
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "StudyDate", "AccessionNumber"):
        assert dataset[keyword].value == source[keyword].value
    assert dataset.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert len({dataset.SOPInstanceUID, dataset.SeriesInstanceUID, source.SOPInstanceUID, "1"}) == 4
    assert dataset.SeriesInstanceUID != source.SeriesInstanceUID


def test_read_back_it_is_the_same_picture(picture, tmp_path):
    dicom_out.save_dicom(tmp_path / "made.dcm", dicom_out.counterfactual_dataset(picture, FACTS, make_source()))
    save_png(tmp_path / "made.png", mark_synthetic(picture))
    assert np.array_equal(read_pixels(tmp_path / "made.dcm"), read_pixels(tmp_path / "made.png"))
    assert np.array_equal(load_radiograph(tmp_path / "made.dcm"), load_radiograph(tmp_path / "made.png"))
    assert original_size(tmp_path / "made.dcm") == (200, 180)


def test_a_picture_cannot_be_written_without_its_label(picture):
    dataset = dicom_out.counterfactual_dataset(picture, FACTS)
    pixels = np.frombuffer(dataset.PixelData, np.uint8).reshape(200, 180)
    label = mark_synthetic(np.zeros((200, 180), np.float32)) > 0.9
    assert label.sum() > 80
    assert (pixels[label] > 220).all()


def test_the_same_request_is_the_same_bytes_and_another_another_instance(picture):
    first, again = (
        dicom_out.to_bytes(dicom_out.counterfactual_dataset(picture, FACTS, make_source())) for _ in range(2)
    )
    assert first == again
    uids = {
        dicom_out.request_uids({**FACTS, **change}, source).instance
        for change in ({}, {"seed": 5}, {"progression_description": "x"}, {"model": "b"})
        for source in (None, make_source(), make_source(SOPInstanceUID="1.2.3"))
    }
    assert len(uids) == 12


def test_uids_are_known_before_anything_is_made(picture):
    for pseudonyms in (None, KEY):
        dataset = dicom_out.counterfactual_dataset(picture, FACTS, make_source(), pseudonyms=pseudonyms)
        uids = dicom_out.request_uids(FACTS, make_source(), pseudonyms=pseudonyms)
        assert (dataset.StudyInstanceUID, dataset.SeriesInstanceUID) == (uids.study, uids.series)
        assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID == uids.instance
        assert all(pydicom.uid.UID(uid).is_valid for uid in (uids.study, uids.series, uids.instance))


def test_instances_of_a_series_share_it(picture):
    made = [
        dicom_out.counterfactual_dataset(picture, {**FACTS, "seed": n}, make_source(), number=n, series_facts=FACTS)
        for n in (1, 2)
    ]
    assert made[0].SeriesInstanceUID == made[1].SeriesInstanceUID
    assert made[0].SOPInstanceUID != made[1].SOPInstanceUID


def test_export_holds_nothing_of_the_patient(picture):
    dataset = dicom_out.counterfactual_dataset(picture, FACTS, make_source(), pseudonyms=KEY)
    content = dicom_out.to_bytes(dataset)
    assert not [secret for secret in SECRETS if secret.encode() in content]
    assert dataset.PatientIdentityRemoved == "YES"
    assert 0 < len(dataset.DeidentificationMethod) <= 64


def test_export_maps_the_same_to_the_same_and_by_the_key_alone(picture):
    def export(key, **values):
        return dicom_out.counterfactual_dataset(picture, FACTS, make_source(**values), pseudonyms=key)

    first, other_image = export(KEY), export(KEY, SOPInstanceUID="1.2.3")
    assert first.PatientID == other_image.PatientID
    assert first.StudyInstanceUID == other_image.StudyInstanceUID
    assert first.SOPInstanceUID != other_image.SOPInstanceUID
    other_key = export(Pseudonyms(b"j" * 32))
    assert (other_key.PatientID, other_key.StudyInstanceUID) != (first.PatientID, first.StudyInstanceUID)
    assert export(KEY, PatientID="MRN2").PatientID != first.PatientID


def test_what_is_burned_into_the_prior_is_not_exported(picture):
    with pytest.raises(ImageError, match="burned in"):
        dicom_out.counterfactual_dataset(picture, FACTS, make_source(BurnedInAnnotation="YES"), pseudonyms=KEY)


def test_a_key_is_made_once_and_readable_to_its_owner_alone(tmp_path):
    path = tmp_path / "deep" / "export.key"
    made, new = read_or_make_key(path)
    again, not_new = read_or_make_key(path)
    assert (new, not_new) == (True, False)
    assert made.key == again.key
    assert len(made.key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made.key.hex() not in repr(made)
    for content in ("hello", "abcd"):
        path.write_text(content)
        with pytest.raises(BiomedJourneyError, match="export key"):
            read_or_make_key(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_or_foreign_patient_is_kept_and_never_logged(picture, tmp_path, caplog, capsys, name):
    caplog.set_level(logging.DEBUG)
    source = Dataset()
    source.file_meta = FileMetaDataset()
    source.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    source.file_meta.MediaStorageSOPClassUID = source.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    source.file_meta.MediaStorageSOPInstanceUID = source.SOPInstanceUID = "1.2.3.4"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)
        source.SpecificCharacterSet = "ISO_IR 192"
        source.StudyInstanceUID = "1.2.3"
        source.PatientName = source.PatientID = source.AccessionNumber = name
        source.StudyDate = name if name.isascii() else "99999999"
        source.save_as(tmp_path / "in.dcm", enforce_file_format=True)
    caplog.clear()
    read = read_source(tmp_path / "in.dcm")
    dicom_out.save_dicom(tmp_path / "out.dcm", dicom_out.counterfactual_dataset(picture, FACTS, read))
    logged, printed = caplog.text, capsys.readouterr()
    again = pydicom.dcmread(tmp_path / "out.dcm")
    assert str(again.PatientName) == str(pydicom.dcmread(tmp_path / "in.dcm").PatientName)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.dcm", "out.dcm"]
    assert name[:5] not in logged + printed.out + printed.err


def test_a_description_cannot_break_out_of_its_element(picture):
    facts = {**FACTS, "progression_description": "a\x00b\n<script>" + "é" * 3000}
    told = dicom_out.counterfactual_dataset(picture, facts).DerivationDescription
    assert len(told) == 1024
    assert not any(ord(letter) < 32 for letter in told)


def test_nothing_half_written_stays_where_writing_fails(picture, tmp_path, monkeypatch):
    dataset = dicom_out.counterfactual_dataset(picture, FACTS)
    monkeypatch.setattr("pathlib.Path.write_bytes", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        dicom_out.save_dicom(tmp_path / "made.dcm", dataset)
    assert list(tmp_path.iterdir()) == []


def test_a_written_file_is_known_again(picture, tmp_path):
    path, uids = tmp_path / "made.dcm", dicom_out.request_uids(FACTS, None)
    assert not dicom_out.is_written(path, uids)
    dicom_out.save_dicom(path, dicom_out.counterfactual_dataset(picture, FACTS))
    assert dicom_out.is_written(path, uids)
    assert not dicom_out.is_written(path, dicom_out.request_uids({**FACTS, "seed": 5}, None))
    path.write_bytes(path.read_bytes()[:2000])
    assert not dicom_out.is_written(path, uids)


CASES = Path(__file__).parents[4] / "shared" / "cases"


@pytest.mark.parametrize("name", ["leak_uid_leading0.dcm", "leak_sop_leading0.dcm"])
@pytest.mark.parametrize("pseudonyms", [None, KEY])
def test_uids_with_leading_zeros_are_kept_and_not_shown(picture, tmp_path, capfd, caplog, name, pseudonyms):
    path = CASES / "dicom-uid-leading-zero" / name
    if not path.is_file():
        pytest.skip("the cases are not here")
    caplog.set_level(logging.DEBUG)
    source = read_source(path)
    dicom_out.save_dicom(
        tmp_path / "made.dcm", dicom_out.counterfactual_dataset(picture, FACTS, source, pseudonyms=pseudonyms)
    )
    made = pydicom.dcmread(tmp_path / "made.dcm")
    uids = source.StudyInstanceUID, source.SOPInstanceUID
    expected = uids if pseudonyms is None else tuple(map(pseudonyms.uid, uids))
    assert (made.StudyInstanceUID, made.SourceImageSequence[0].ReferencedSOPInstanceUID) == expected
    assert "".join(capfd.readouterr()) + caplog.text == ""


def test_the_frame_of_reference_is_kept(picture):
    source = make_source(FrameOfReferenceUID="1.2.840.0113.5")
    assert dicom_out.counterfactual_dataset(picture, FACTS, source).FrameOfReferenceUID == "1.2.840.0113.5"
    exported = dicom_out.counterfactual_dataset(picture, FACTS, source, pseudonyms=KEY)
    assert exported.FrameOfReferenceUID == KEY.uid("1.2.840.0113.5")


@pytest.mark.parametrize("keyword", UIDS)
@pytest.mark.parametrize("uid", ["1.2.x", "1..2", "1.2.", "1.2 3", "1." * 32 + "1", "1.2\\1.3"])
def test_uids_that_cannot_be_kept_are_refused_without_showing_them(tmp_path, dicom_chest, keyword, uid):
    (tmp_path / "prior.dcm").write_bytes(dicom_chest(**{keyword: uid}))
    with pytest.raises(ImageError, match=f"{keyword} must be numbers") as caught:
        read_source(tmp_path / "prior.dcm")
    assert uid not in str(caught.value)
    assert caught.value.reason == "UID unusable"
