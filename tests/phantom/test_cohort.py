import csv
import gzip
import hashlib
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.phantom import cohort as cohort_module
from biomedjourney_monai.phantom.cohort import as_grey, encode_image, write_phantom_cohort, write_tables_only
from biomedjourney_monai.phantom.faults import plant_faults
from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.tables import list_rows
from biomedjourney_monai.schema import CHEXPERT_LABELS

PATIENTS, SEED, SIZE = 14, 11, 64


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantom") / "cohort"
    summary = write_phantom_cohort(out, patients=PATIENTS, seed=SEED, size=SIZE, processes=1, truth=("test",))
    return out, summary


def read(path: Path):
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return list(csv.DictReader(text.splitlines()))


def hash_folder(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_metadata_has_mimics_columns_and_names_every_image(written):
    out, summary = written
    rows = read(out / "mimic-cxr-2.0.0-metadata.csv.gz")
    assert list(rows[0]) == (
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,"
        "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning"
    ).split(",")
    paths = {
        f"files/p{row['subject_id'][:2]}/p{row['subject_id']}/s{row['study_id']}/{row['dicom_id']}.jpg" for row in rows
    }
    assert paths == {str(path.relative_to(out)) for path in out.glob("files/**/*.jpg")}
    assert len(rows) == summary.images and {row["Rows"] for row in rows} == {str(SIZE)}
    assert all(len(row["StudyDate"]) == 8 and 0 <= float(row["StudyTime"]) < 240000 for row in rows)


def test_label_tables_have_mimics_columns(written):
    out, _ = written
    columns = ["subject_id", "study_id", *CHEXPERT_LABELS]
    for name in ("chexpert", "negbio"):
        rows = read(out / f"mimic-cxr-2.0.0-{name}.csv.gz")
        assert list(rows[0]) == columns
        assert {row[label] for row in rows for label in CHEXPERT_LABELS} <= {"", "1.0", "0.0", "-1.0"}
    assert list(read(out / "mimic-cxr-2.1.0-test-set-labeled.csv")[0]) == ["study_id", *CHEXPERT_LABELS]


def test_labels_are_the_findings_where_they_are_certain(written):
    out, _ = written
    labels = {row["study_id"]: row for row in read(out / "mimic-cxr-2.0.0-chexpert.csv.gz")}
    for index in range(PATIENTS):
        for visit in draw_patient(SEED, index).visits:
            row = labels.get(str(visit.study_id))
            for finding, present in visit.findings.labels().items() if row else ():
                assert row[finding] in ({"1.0", "-1.0"} if present else {"0.0", "", "-1.0"})


def test_hosp_tables_have_mimic_ivs_columns(written):
    out, _ = written
    patients = read(out / "hosp" / "patients.csv.gz")
    assert list(patients[0]) == ["subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod"]
    assert len(patients) == PATIENTS
    assert {"subject_id", "hadm_id", "race"} <= set(read(out / "hosp" / "admissions.csv.gz")[0])


def test_every_study_has_its_report_or_is_listed(written):
    out, _ = written
    studies = {(row["subject_id"], row["study_id"]) for row in read(out / "mimic-cxr-2.0.0-metadata.csv.gz")}
    listed = {row["study_id"] for row in read(out / "planted.csv") if row["fault"] == "missing_report"}
    for subject, study in studies:
        assert (out / f"files/p{subject[:2]}/p{subject}/s{study}.txt").is_file() != (study in listed)


def test_split_keeps_patients_whole_and_p19_for_test(written):
    rows = read(written[0] / "mimic-cxr-2.0.0-split.csv.gz")
    assert list(rows[0]) == ["dicom_id", "study_id", "subject_id", "split"]
    assert all((row["split"] == "test") == (row["subject_id"][:2] == "19") for row in rows)


def test_truth_is_written_for_the_journeys_of_test_patients(written):
    out, summary = written
    rows = read(out / "truth" / "truth.csv")
    assert list(rows[0]) == ["prior_dicom_id", "new_study_id", "file"]
    assert len(rows) == summary.counterfactuals > 0
    split = {row["dicom_id"]: row["split"] for row in read(out / "mimic-cxr-2.0.0-split.csv.gz")}
    for row in rows:
        assert row["file"] == f"{row['prior_dicom_id']}-{row['new_study_id']}.png"
        assert split[row["prior_dicom_id"]] == "test"
        image = cv2.imread(str(out / "truth" / row["file"]), cv2.IMREAD_UNCHANGED)
        assert image.shape == (SIZE, SIZE) and image.dtype == np.uint8
        masks = np.load(out / "truth" / row["file"].replace(".png", ".npz"))["masks"]
        assert masks.shape == (6, SIZE, SIZE)


def test_truth_covers_every_image_that_the_tables_call_pa(tmp_path, monkeypatch):
    rates = {"lateral_as_pa": 1.0, "ap_as_pa": 1.0, "view_empty": 0.3}
    monkeypatch.setattr(cohort_module, "plant_faults", lambda patient, seed: plant_faults(patient, seed, rates=rates))
    write_phantom_cohort(tmp_path, patients=PATIENTS, seed=SEED, size=SIZE, processes=1, truth=("test",))
    rows = read(tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz")
    test = {row["subject_id"]: row for row in rows if row["subject_id"].startswith("19")}
    when = {row["study_id"]: (row["StudyDate"], float(row["StudyTime"])) for row in rows}
    expected = {
        (prior["dicom_id"], new["study_id"])
        for prior in rows
        for new in rows
        if prior["ViewCodeSequence_CodeMeaning"] == "postero-anterior"
        and prior["subject_id"] == new["subject_id"] in test
        and when[prior["study_id"]] < when[new["study_id"]]
    }
    truth = {
        (row["prior_dicom_id"], row["new_study_id"]): row["file"] for row in read(tmp_path / "truth" / "truth.csv")
    }
    assert truth.keys() == expected and len(expected) > 3
    for (dicom_id, _), file in truth.items():  # the same view: a lateral's truth is a lateral
        prior = cv2.imread(str(next(tmp_path.glob(f"files/**/{dicom_id}.jpg"))), 0)
        true = cv2.imread(str(tmp_path / "truth" / file), 0)
        assert np.corrcoef(prior.ravel(), true.ravel())[0, 1] > 0.75


@pytest.mark.slow
def test_the_number_of_processes_does_not_change_a_byte(written, tmp_path):
    write_phantom_cohort(tmp_path / "two", patients=PATIENTS, seed=SEED, size=SIZE, processes=2, truth=("test",))
    assert hash_folder(tmp_path / "two") == hash_folder(written[0])


def test_an_interrupted_run_goes_on_and_ends_the_same(written, tmp_path, monkeypatch):
    out = tmp_path / "interrupted"
    whole, calls = cohort_module._write_patient, []

    def fail_at_the_fifth(task):
        calls.append(task)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return whole(task)

    monkeypatch.setattr(cohort_module, "_write_patient", fail_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        write_phantom_cohort(out, patients=PATIENTS, seed=SEED, size=SIZE, processes=1, truth=("test",))
    assert not (out / "planted.csv").exists()
    first = next(out.glob("files/**/*.jpg"))
    stamp = first.stat().st_mtime_ns
    monkeypatch.setattr(cohort_module, "_write_patient", whole)
    write_phantom_cohort(out, patients=PATIENTS, seed=SEED, size=SIZE, processes=1, truth=("test",))
    assert first.stat().st_mtime_ns == stamp
    assert hash_folder(out) == hash_folder(written[0])


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="new or empty"):
        write_phantom_cohort(tmp_path, patients=1, seed=0, size=64, processes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("change", [{"seed": 12}, {"size": 128}, {"patients": 3}])
def test_a_cohort_with_other_settings_is_refused(written, change):
    arguments = {"patients": PATIENTS, "seed": SEED, "size": SIZE} | change
    with pytest.raises(ConfigError, match=next(iter(change))):
        write_phantom_cohort(written[0], **arguments, processes=1)


def test_an_unreadable_marker_is_refused(tmp_path):
    (tmp_path / "phantom.json").write_text("{")
    with pytest.raises(ConfigError, match="unreadable"):
        write_phantom_cohort(tmp_path, patients=1, seed=0, size=64, processes=1)


@pytest.mark.parametrize("wrong", [{"patients": 0}, {"size": 10}, {"size": 100_000}])
def test_arguments_out_of_range_are_refused(tmp_path, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        write_phantom_cohort(tmp_path / "out", **({"patients": 1, "seed": 0, "size": 64} | wrong), processes=1)
    assert not (tmp_path / "out").exists()


def damaged_image(damage):
    for index in range(3000):
        for images in plant_faults(draw_patient(8, index), 8).images:
            for image in images:
                if image.damage == damage:
                    return image
    raise AssertionError(damage)


def test_inverted_files_are_inverted():
    pixels = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    read_back = cv2.imdecode(np.frombuffer(encode_image(pixels, damaged_image("inverted")), np.uint8), 0)
    assert np.abs(255 - read_back.astype(int) - as_grey(pixels)).mean() < 2


def test_truncated_files_end_early():
    pixels = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    planned = damaged_image("truncated")
    encoded = encode_image(pixels, planned)
    assert encoded[:2] == b"\xff\xd8" and not encoded.endswith(b"\xff\xd9")


def test_rows_of_a_patient_agree_with_the_plan():
    untidy = plant_faults(draw_patient(1, 3), 1)
    rows = list_rows(untidy, seed=1, size=256)
    assert len(rows.metadata) == len(rows.split) == sum(map(len, untidy.images))
    assert Counter(row[2] for row in rows.metadata).keys() == {visit.study_id for visit in untidy.patient.visits}
    assert len(rows.admissions) == len(untidy.races)


def test_the_marker_says_what_the_folder_holds(written):
    assert json.loads((written[0] / "phantom.json").read_text())["seed"] == SEED


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    out = tmp_path / "cohort"
    write_phantom_cohort(out, patients=2, seed=SEED, size=SIZE, processes=1)
    before = hash_folder(out)
    half = next(out.glob("files/**/*.jpg")).parent / ".half-0123abcd.jpg"
    half.write_bytes(b"\xff\xd8")
    write_phantom_cohort(out, patients=2, seed=SEED, size=SIZE, processes=1)
    assert hash_folder(out) == before


def test_a_relative_folder_lies_where_the_caller_stands(tmp_path, monkeypatch):
    for place in ("first", "second"):  # joblib keeps its workers, and they their folder, from one call to the next
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        summary = write_phantom_cohort("cohort", patients=2, seed=5, size=64, processes=2)
        assert len(list((tmp_path / place / "cohort" / "files").rglob("*.jpg"))) == summary.images


def count_rows(path):
    return list(csv.DictReader(gzip.decompress(path.read_bytes()).decode().splitlines()))


def test_exactly_as_many_images_as_asked(tmp_path):
    summary = write_tables_only(tmp_path, images=1001, seed=2, processes=1)
    rows = count_rows(tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz")
    assert len(rows) == summary.images == 1001
    assert len({row["dicom_id"] for row in rows}) == 1001
    assert not (tmp_path / "files").exists()
    assert 1.5 < 1001 / summary.studies < 1.8  # MIMIC-CXR has 1.66 images per study


@pytest.mark.parametrize("images", [1, 777])
def test_a_shorter_table_begins_as_a_longer_one(tmp_path, images):
    write_tables_only(tmp_path / "short", images=images, seed=2, processes=1)
    write_tables_only(tmp_path / "long", images=900, seed=2, processes=1)
    name = "mimic-cxr-2.0.0-metadata.csv.gz"
    short, long = ({row["dicom_id"] for row in count_rows(tmp_path / part / name)} for part in ("short", "long"))
    assert len(short) == images and short < long


def test_hardly_more_patients_are_drawn_than_listed(tmp_path, monkeypatch):
    drawn = []
    whole = cohort_module.draw_patient
    monkeypatch.setattr(cohort_module, "draw_patient", lambda seed, index: drawn.append(index) or whole(seed, index))
    summary = write_tables_only(tmp_path, images=2000, seed=2, processes=1)
    assert drawn == list(range(len(drawn)))
    assert summary.patients <= len(drawn) < 1.15 * summary.patients


@pytest.mark.slow
def test_the_number_of_processes_does_not_change_a_byte_of_tables_only(tmp_path):
    for processes in (1, 2):
        write_tables_only(tmp_path / str(processes), images=8000, seed=2, processes=processes)
    one = {path.relative_to(tmp_path / "1"): path.read_bytes() for path in tmp_path.glob("1/**/*.*")}
    two = {path.relative_to(tmp_path / "2"): path.read_bytes() for path in tmp_path.glob("2/**/*.*")}
    assert len(one) > 8 and one == two


def test_every_table_knows_every_patient(tmp_path):
    summary = write_tables_only(tmp_path, images=300, seed=2, processes=1)
    patients = {row["subject_id"] for row in count_rows(tmp_path / "hosp" / "patients.csv.gz")}
    assert patients >= {row["subject_id"] for row in count_rows(tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz")}
    assert len(patients) == summary.patients


def test_a_number_out_of_range_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="number of images"):
        write_tables_only(tmp_path / "out", images=0, processes=1)
