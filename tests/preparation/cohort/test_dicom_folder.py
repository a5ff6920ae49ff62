"""A folder of DICOM files, made from the rendered cohort, must become the cohort that its tables make."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.phantom.cohort import write_phantom_cohort
from biomedjourney_monai.preparation.cohort import dicom_folder
from biomedjourney_monai.preparation.cohort.dicom_folder import list_files, read_age, read_dicom_folder, read_fields
from biomedjourney_monai.preparation.cohort.mimic import read_mimic
from biomedjourney_monai.preparation.cohort.selection import CohortSettings, select_studies
from biomedjourney_monai.schema import CHEXPERT_LABELS, STUDY_COLUMNS


@pytest.fixture(scope="module")
def phantom(tmp_path_factory) -> Path:
    """The rendered cohort in MIMIC's layout, with DICOM files."""
    root = tmp_path_factory.mktemp("phantom") / "cohort"
    write_phantom_cohort(root, patients=16, seed=11, size=64, processes=1, image_format="dicom")
    return root


@pytest.fixture(scope="module")
def reports(phantom) -> pd.DataFrame:
    paths = sorted(phantom.rglob("s*.txt"))
    return pd.DataFrame(
        {"accession_number": [f"A{path.stem[1:]}" for path in paths], "text": [path.read_text() for path in paths]}
    )


@pytest.fixture
def archive(phantom, tmp_path) -> Path:
    """The same files, nested anyhow and without extensions, beside files of other kinds."""
    folder = tmp_path / "archive"
    for number, path in enumerate(sorted(phantom.rglob("*.dcm"))):
        place = folder / f"disk{number % 3}" / ("deep/er" if number % 2 else "") / f"IM{number:04d}"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    return folder


def change(path: Path, **attributes) -> None:
    dataset = pydicom.dcmread(path)
    for keyword, value in attributes.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)


def pa_files(folder: Path) -> list[Path]:
    files = [Path(path) for path in list_files(folder)]
    return [path for path in files if pydicom.dcmread(path, stop_before_pixels=True).ViewPosition == "PA"]


def is_native(path: Path) -> bool:
    syntax = pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    return not syntax.is_compressed and not syntax.is_deflated


def test_the_folder_makes_the_cohort_that_the_tables_make(archive, phantom, reports, tmp_path):
    reports.to_csv(tmp_path / "reports.csv", index=False)
    source = read_dicom_folder(archive, reports=tmp_path / "reports.csv", texts=tmp_path / "texts")
    studies = select_studies(source, CohortSettings()).studies
    known = select_studies(read_mimic(phantom, labels="report")).studies
    assert tuple(studies.columns) == STUDY_COLUMNS
    studies = studies.assign(
        known_id=[pydicom.dcmread(path, stop_before_pixels=True).AccessionNumber[1:] for path in studies["image_path"]]
    )
    both = studies.merge(known, left_on="known_id", right_on="study_id", how="outer", suffixes=("", "_known"))
    assert len(both) == len(studies) == len(known)
    for column in ("study_datetime", "age_at_study", "sex", "view_position", *CHEXPERT_LABELS):
        pd.testing.assert_series_equal(both[column], both[f"{column}_known"], check_names=False)
    assert (studies["report_path"] != "").any()
    texts = {Path(path).read_text() for path in studies["report_path"] if path}
    assert texts <= set(reports["text"])
    groups = both.groupby("subject_id")["subject_id_known"].nunique()
    assert (groups == 1).all() and both["subject_id"].nunique() == both["subject_id_known"].nunique()


def test_numbers_replace_identifiers_and_depend_on_the_key(archive):
    path = list_files(archive)[0]
    fields, again, keyed = read_fields(path), read_fields(path), read_fields(path, key=b"secret")
    header = pydicom.dcmread(path, stop_before_pixels=True)
    assert fields == again
    for name, start in (("subject_id", "1"), ("study_id", "5")):
        assert fields[name].startswith(start) and fields[name].isdigit() and fields[name] != keyed[name]
    shown = " ".join([fields["subject_id"], fields["study_id"], fields["dicom_id"]])
    assert not any(str(value) in shown for value in (header.PatientID, header.StudyInstanceUID, header.SOPInstanceUID))


def test_one_bad_file_never_ends_the_run(archive):
    files = pa_files(archive)
    files.insert(0, next(path for path in files[10:] if is_native(path)))
    files[0].write_bytes(files[0].read_bytes()[:-100])
    files[1].write_bytes(b"")
    files[2].write_bytes(b"no image at all")
    change(files[3], PatientID="")
    change(files[4], BodyPartExamined="HAND")
    change(files[5], PresentationIntentType="FOR PROCESSING")
    change(files[6], PatientOrientation=["R", "F"])
    change(files[7], NumberOfFrames="2")
    shutil.copyfile(files[8], archive / "copy")
    change(files[9], Modality="MR")
    count = len(list_files(archive))
    source = read_dicom_folder(archive)
    counts = source.rejections.counts("image")
    assert counts == {
        "another modality": 1,
        "another part of the body": 1,
        "for processing": 1,
        "image damaged": 1,
        "image file empty": 1,
        "no PatientID": 1,
        "not DICOM": 1,
        "orientation suggests a mirrored image": 1,
        "several frames": 1,
        "the same image again": 1,
    }
    assert len(source.images) + sum(counts.values()) == count
    listed = source.rejections.table()
    assert set(listed["image_path"]) >= {str(path.resolve()) for path in files[:8]}


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
@pytest.mark.parametrize("kept", [1.0, 0.9])
def test_compressed_pixels_without_their_end_are_no_study(tmp_path, dicom_chest, syntax, kept):
    path = tmp_path / "image"
    path.write_bytes(dicom_chest())
    dataset = pydicom.dcmread(path)
    dataset.compress(syntax, generate_instance_uid=False)
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = pydicom.encaps.encapsulate([frame[: int(len(frame) * kept) // 2 * 2]])
    dataset.save_as(path)
    assert read_fields(str(path))["reason"] == ("" if kept == 1 else "image damaged")
    path.write_bytes(path.read_bytes()[:-9])
    assert read_fields(str(path))["reason"] == "image damaged"


def test_bits_that_only_decoding_can_tell_are_decoded(tmp_path, dicom_chest, monkeypatch):
    read = []
    monkeypatch.setattr(dicom_folder, "read_pixels", read.append)
    for high_bit in (11, 15):
        (tmp_path / "image").write_bytes(dicom_chest(HighBit=high_bit))
        read_fields(str(tmp_path / "image"))
    assert len(read) == 1


def test_a_header_that_crashes_its_reader_is_counted(archive, monkeypatch):
    from biomedjourney_monai.preparation.cohort import dicom_folder

    def crashing(function, items, *, on_death, **_options):
        return [on_death(path) if path == items[0] else function(path) for path in items]

    monkeypatch.setattr(dicom_folder, "map_in_processes", crashing)
    source = read_dicom_folder(archive)
    assert source.rejections.counts("image")["reader crashed"] == 1
    assert list_files(archive)[0] not in set(source.images["image_path"])


def test_what_this_package_stored_in_the_archive_is_no_study(archive, tmp_path):
    from biomedjourney_monai.radiographs.write.dicom import counterfactual_dataset, save_dicom
    from biomedjourney_monai.radiographs.write.dicom_source import read_source

    prior = pa_files(archive)[5]
    picture = np.random.default_rng(0).random((120, 110)).astype(np.float32)
    save_dicom(archive / "made.dcm", counterfactual_dataset(picture, {"seed": 1}, read_source(prior)))
    source = read_dicom_folder(archive)
    assert source.rejections.counts("image")["counterfactual"] == 1
    assert str((archive / "made.dcm").resolve()) not in set(source.images["image_path"])
    assert str(prior.resolve()) in set(source.images["image_path"])


@pytest.mark.parametrize("attributes", [{"StudyDate": ""}, {"StudyDate": None}, {"StudyTime": ""}])
def test_a_study_without_date_or_time_is_rejected(archive, attributes):
    path = pa_files(archive)[0]
    change(path, **attributes)
    cohort = select_studies(read_dicom_folder(archive), CohortSettings(eligibility="any"))
    assert cohort.rejections.counts("study")["study date or time unusable"] == 1


def test_the_view_code_stands_in_by_its_value(archive):
    path = pa_files(archive)[0]
    change(path, ViewPosition="")
    assert read_fields(str(path))["ViewCodeSequence_CodeMeaning"] == "postero-anterior"
    dataset = pydicom.dcmread(path)
    dataset.ViewCodeSequence[0].CodeMeaning = "Thorax p.a."
    dataset.save_as(path)
    assert read_fields(str(path))["ViewCodeSequence_CodeMeaning"] == "postero-anterior"
    change(path, ViewCodeSequence=None)
    cohort = select_studies(read_dicom_folder(archive), CohortSettings(eligibility="any"))
    assert cohort.rejections.counts("image")["view unknown"] == 1


def test_a_burned_in_annotation_is_flagged(archive):
    path = pa_files(archive)[0]
    change(path, BurnedInAnnotation="YES")
    cohort = select_studies(read_dicom_folder(archive), CohortSettings(eligibility="any"))
    assert cohort.flags["flag"].tolist() == ["annotation burned in"]


def test_race_is_the_most_frequent_of_a_patients_files(archive):
    by_patient: dict[str, list[Path]] = {}
    for path in list_files(archive):
        by_patient.setdefault(pydicom.dcmread(path, stop_before_pixels=True).PatientID, []).append(Path(path))
    files = max(by_patient.values(), key=len)
    for path, race in zip(files, ["ASIAN", "white", *["WHITE"] * len(files)]):
        change(path, EthnicGroup=race)
    source = read_dicom_folder(archive)
    assert source.race_conflicts["chosen"].tolist() == ["WHITE", "WHITE"]
    assert set(source.demographics["race"]) == {"WHITE", ""}


@pytest.mark.parametrize(
    ("study_date", "birth", "age", "years"),
    [
        ("20200301", "19600301", "", 60),
        ("20200229", "19600301", "", 59),
        ("20200301", "", "045Y", 45),
        ("20200301", "19600230", "045Y", 45),
        ("", "19600301", "006M", 0.5),
        ("20200301", "20210301", "", np.nan),
        ("20200301", "", "Y", np.nan),
        ("20200301", "", "old", np.nan),
    ],
)
def test_age_from_the_date_of_birth_or_the_age(study_date, birth, age, years):
    assert read_age(study_date, birth=birth, age=age) == pytest.approx(years, nan_ok=True)


def test_a_folder_without_radiographs_says_what_was_there(tmp_path):
    with pytest.raises(TableError, match="--dicom"):
        read_dicom_folder(tmp_path / "absent")
    with pytest.raises(TableError, match="no file"):
        read_dicom_folder(tmp_path)
    (tmp_path / "note").write_text("x")
    with pytest.raises(TableError, match="not DICOM: 1"):
        read_dicom_folder(tmp_path)
