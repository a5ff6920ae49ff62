import gzip

import pytest

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.preparation.cohort import mimic as tables


def test_tables_are_found_in_the_folder_or_below_it_plain_or_compressed(tmp_path):
    deep = tmp_path / "mimic-iv" / "3.1" / "hosp"
    deep.mkdir(parents=True)
    (deep / "patients.csv").write_text("a\n")
    assert tables.find_table(tmp_path, "patients") == deep / "patients.csv"
    (tmp_path / "patients.csv.gz").write_bytes(gzip.compress(b"a\n", mtime=0))
    assert tables.find_table(tmp_path, "patients") == tmp_path / "patients.csv.gz"
    assert tables.find_table(tmp_path, "admissions") is None


def test_a_missing_folder_and_a_missing_table_say_so(tmp_path):
    with pytest.raises(TableError, match="folder"):
        tables.read_metadata(tmp_path / "absent")
    with pytest.raises(TableError, match="-metadata"):
        tables.read_metadata(tmp_path)


@pytest.mark.parametrize("column", ["dicom_id", "StudyTime", "ViewPosition", "ViewCodeSequence_CodeMeaning"])
def test_a_missing_column_is_named(mimic, column):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001)
    for row in mimic.images:
        row["renamed"] = row.pop(column)
    mimic.write_table(tables.METADATA, mimic.images)
    with pytest.raises(TableError, match=f"'{column}'"):
        tables.read_metadata(mimic.root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "CSV"),
        (b"not gzip", "CSV"),
        (gzip.compress(b"", mtime=0)[:5], "CSV"),
        (gzip.compress(b"\xff\xfe\0x", mtime=0), "CSV"),
    ],
)
def test_damaged_tables_are_refused(tmp_path, content, message):
    (tmp_path / "mimic-cxr-2.0.0-chexpert.csv.gz").write_bytes(content)
    with pytest.raises(TableError, match=message):
        tables.read_labels(tmp_path)


@pytest.fixture
def one_study(mimic):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001, labels={"Edema": -1.0, "Pneumothorax": 0.0})
    return mimic


def test_labels_keep_their_raw_values(one_study):
    row = tables.read_labels(one_study.write()).iloc[0]
    assert row["Edema"] == -1 and row["Pneumothorax"] == 0 and row["Fracture"] != row["Fracture"]
    assert row["Edema"].dtype == "float32"


@pytest.mark.parametrize("value", ["2", "0.5", "yes"])
def test_other_label_values_are_refused(one_study, value):
    one_study.labels[0]["Edema"] = value
    with pytest.raises(TableError, match="'Edema'"):
        tables.read_labels(one_study.write())


def test_repeated_and_empty_identifiers_are_refused(one_study):
    one_study.labels.append(dict(one_study.labels[0]))
    with pytest.raises(TableError, match=r"'study_id'.*repeat"):
        tables.read_labels(one_study.write())
    one_study.images.append(dict(one_study.images[0]) | {"dicom_id": ""})
    with pytest.raises(TableError, match=r"'dicom_id'.*gaps"):
        tables.read_metadata(one_study.write())


def test_a_patient_in_two_official_splits_is_refused(one_study):
    rows = [
        {"dicom_id": f"d{split}", "study_id": 1, "subject_id": 10000001, "split": split} for split in ("train", "test")
    ]
    one_study.write_table(tables.SPLIT, rows)
    with pytest.raises(TableError, match="one split"):
        tables.read_split(one_study.root)


def test_race_is_the_most_frequent_known_one_and_conflicts_are_counted(mimic):
    mimic.add_study(10000001, 50000001)
    mimic.add_patient(10000001, races=("white", "ASIAN", "WHITE", "UNKNOWN", "UNKNOWN", "UNKNOWN"))
    mimic.add_patient(10000002, races=("WHITE", "ASIAN"))
    mimic.add_patient(10000003, races=("UNABLE TO OBTAIN",))
    mimic.add_patient(10000004, races=())
    table, conflicts = tables.read_demographics(mimic.write())
    assert table.set_index("subject_id")["race"].to_dict() == {
        "10000001": "WHITE",
        "10000002": "ASIAN",
        "10000003": "",
        "10000004": "",
    }
    assert conflicts["subject_id"].nunique() == 2
    assert (
        dict(zip(conflicts["subject_id"], conflicts["chosen"]))
        == table.set_index("subject_id")["race"][sorted(set(conflicts["subject_id"]))].to_dict()
    )


def test_ethnicity_is_the_older_name_of_race(mimic):
    mimic.add_study(10000001, 50000001)
    mimic.add_patient(10000001, races=("ASIAN - CHINESE",))
    for row in mimic.admissions:
        row["ethnicity"] = row.pop("race")
    assert tables.read_demographics(mimic.write())[0]["race"].tolist() == ["ASIAN - CHINESE"]


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("images", "subject_id", "p10000001"),
        ("images", "study_id", "s50000001"),
        ("images", "StudyDate", "2150-01-01x"),
        ("images", "StudyTime", "noon"),
        ("images", "Rows", "many"),
        ("images", "Columns", "many"),
        ("patients", "gender", "female"),
        ("patients", "anchor_age", "old"),
        ("patients", "anchor_year", "soon"),
    ],
)
def test_a_column_of_the_wrong_type_is_named(one_study, table, column, value):
    for row in getattr(one_study, table):
        row[column] = value
    one_study.write()
    with pytest.raises(TableError, match=f"'{column}'|{column}"):
        tables.read_metadata(one_study.root)
        tables.read_demographics(one_study.root)


def test_a_study_of_two_patients_is_refused(one_study):
    one_study.images.append(dict(one_study.images[0]) | {"dicom_id": "other", "subject_id": 10000002})
    with pytest.raises(TableError, match=r"'study_id'.*one patient"):
        tables.read_metadata(one_study.write())


def test_patients_that_repeat_are_refused(one_study):
    one_study.patients.append(dict(one_study.patients[0]))
    with pytest.raises(TableError, match="'subject_id' of patients must not repeat"):
        tables.read_demographics(one_study.write())


def test_negbio_labels_have_the_same_form(one_study):
    one_study.write()
    one_study.write_table(tables.NEGBIO, one_study.labels)
    assert tables.read_labels(one_study.root, tables.NEGBIO)["Edema"].tolist() == [-1]
