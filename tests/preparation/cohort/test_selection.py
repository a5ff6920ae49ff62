import numpy as np
import pandas as pd
import pytest

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.preparation.cohort.mimic import read_mimic
from biomedjourney_monai.preparation.cohort.selection import CohortSettings, is_eligible, read_views, select_studies
from biomedjourney_monai.schema import CHEXPERT_LABELS, STUDY_COLUMNS


def test_the_small_cohort(small_mimic):
    cohort = select_studies(read_mimic(small_mimic))
    studies = cohort.studies
    assert tuple(studies.columns) == STUDY_COLUMNS
    assert studies["study_id"].tolist() == [
        *("50000009", "50000003", "50000001"),  # by time, not by identifier
        *("50000011", "50000012", "50000021", "50000022"),
    ]
    assert cohort.rejections.counts("image") == {"view not PA": 1} and cohort.rejections.counts("study") == {}
    assert studies["split"].tolist()[-2:] == ["test", "test"]
    assert studies.loc[3, ["report_path", "sex", "race"]].tolist() == ["", "M", "BLACK/AFRICAN AMERICAN"]
    assert str(studies.loc[5, "study_datetime"]) == "2150-01-01 08:15:00.500000"
    assert studies["Pleural Effusion"].tolist()[:2] == [1, 1]


def test_the_view_code_stands_in_for_an_empty_position_only():
    images = pd.DataFrame(
        {
            "ViewPosition": ["PA", "pa ", None, "", None, "AP", "LATERAL"],
            "ViewCodeSequence_CodeMeaning": [
                *("lateral", None, "postero-anterior", "Postero-Anterior", "antero-posterior"),
                *("postero-anterior", None),
            ],
        }
    )
    assert read_views(images).tolist() == ["PA", "PA", "PA", "PA", "AP", "AP", "LATERAL"]


def test_the_image_with_the_most_pixels_is_chosen_and_one_that_is_missing_never_is(mimic):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001, dicom_id="a", rows=200)
    mimic.add_study(10000001, 50000001, dicom_id="c", rows=300)
    mimic.add_study(10000001, 50000001, dicom_id="b", rows=300)
    mimic.add_study(10000001, 50000001, dicom_id="d", rows=900, image=False)
    cohort = select_studies(read_mimic(mimic.write()))
    assert cohort.studies["dicom_id"].tolist() == ["b"]
    assert cohort.rejections.counts("image") == {"image file missing": 1, "another image of the study chosen": 2}


def test_every_drop_has_its_reason(mimic):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001)
    mimic.add_study(10000001, 50000002, view="AP")
    mimic.add_study(10000001, 50000003, image=False)
    mimic.add_study(10000001, 50000004, date="21509999")
    mimic.add_study(10000001, 50000005, labels={"Edema": -1.0})
    mimic.add_study(10000001, 50000006, labelled=False)
    mimic.add_study(10000001, 50000007, dicom_id="..x", image=False)
    cohort = select_studies(read_mimic(mimic.write()))
    assert cohort.studies["study_id"].tolist() == ["50000001"]
    assert cohort.rejections.counts("image") == {"identifier malformed": 1, "view not PA": 1, "image file missing": 1}
    assert cohort.rejections.counts("study") == {
        "identifier malformed": 1,
        "no PA image": 1,
        "image file missing": 1,
        "study date or time unusable": 1,
        "labels not eligible": 2,
    }
    assert len(cohort.studies) + sum(cohort.rejections.counts("study").values()) == 7


def test_nothing_eligible_is_an_error_with_the_reasons(mimic):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001, view="LATERAL")
    with pytest.raises(TableError, match="view not PA: 1"):
        select_studies(read_mimic(mimic.write()))


@pytest.mark.parametrize(("eligibility", "kept"), [("labelled", [1, 2, 3]), ("finding", [1]), ("any", [1, 2, 3, 4, 5])])
def test_eligibility(eligibility, kept):
    rows = [{"Edema": 1}, {"No Finding": 1}, {"Support Devices": 1}, {"Edema": -1, "Fracture": 0}, {}]
    studies = pd.DataFrame([dict.fromkeys(CHEXPERT_LABELS, np.nan) | row for row in rows])
    assert [n + 1 for n in studies.index[is_eligible(studies, eligibility)]] == kept


def test_age_both_ways(mimic):
    mimic.add_patient(10000001, anchor_age=60, anchor_year=2150)
    mimic.add_study(10000001, 50000001, date="21470630")
    mimic.add_study(10000001, 50000002, date="21520101")
    mimic.add_study(10000002, 50000003)
    studies = select_studies(read_mimic(mimic.write())).studies
    assert studies["age_at_study"].tolist()[:2] == [57, 62]
    assert studies["anchor_age"].tolist()[:2] == [60, 60]
    assert np.isnan(studies["anchor_age"][2]) and studies["sex"][2] == "" and studies["race"][2] == ""


def test_without_mimic_iv_the_cohort_still_stands(mimic):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001)
    studies = select_studies(read_mimic(mimic.write(without=("hosp/patients", "hosp/admissions")))).studies
    assert studies["race"].tolist() == [""] and np.isnan(studies["age_at_study"][0])


def test_the_official_split_is_taken_from_its_table(small_mimic):
    assert set(
        select_studies(read_mimic(small_mimic, official_split=True), CohortSettings(split="official")).studies["split"]
    ) == {"train"}


def test_reports_may_lie_in_a_folder_of_their_own(mimic, tmp_path):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001)
    root = mimic.write()
    report = root / "files" / "p10" / "p10000001" / "s50000001.txt"
    elsewhere = root / "mimic-cxr-reports" / "files" / "p10" / "p10000001" / "s50000001.txt"
    elsewhere.parent.mkdir(parents=True)
    report.rename(elsewhere)
    assert select_studies(read_mimic(root)).studies["report_path"].tolist() == [str(elsewhere.resolve())]
    assert select_studies(read_mimic(root, reports=root / "mimic-cxr-reports")).studies["report_path"].tolist() == [
        str(elsewhere.resolve())
    ]
    with pytest.raises(TableError, match="--reports"):
        select_studies(read_mimic(root, reports=tmp_path / "absent"))


def test_identifiers_cannot_lead_out_of_the_folder(mimic):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001)
    mimic.images.append(dict(mimic.images[0]) | {"dicom_id": "../../../secret", "study_id": 50000002})
    cohort = select_studies(read_mimic(mimic.write()))
    assert cohort.rejections.counts("image")["identifier malformed"] == 1
    assert not cohort.studies["image_path"].str.contains("secret").any()


def test_every_row_of_the_source_is_chosen_or_rejected_once(mimic):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001)
    mimic.add_study(10000001, 50000001, dicom_id="smaller", rows=100)
    mimic.add_study(10000001, 50000002, view="AP")
    mimic.add_study(10000001, 50000003, image=False)
    mimic.add_study(10000001, 50000004, view="", code="")
    mimic.add_study(10000001, 50000007, dicom_id="..x", image=False)
    cohort = select_studies(read_mimic(mimic.write()))
    rejected = cohort.rejections.table()
    images = rejected[rejected["level"] == "image"]
    assert sorted([*images["dicom_id"], *cohort.studies["dicom_id"]]) == sorted(row["dicom_id"] for row in mimic.images)
    assert images.set_index("dicom_id")["reason"].to_dict() == {
        "..x": "identifier malformed",
        "02faf082-00000000-11111111": "view not PA",
        "02faf083-00000000-11111111": "image file missing",
        "02faf084-00000000-11111111": "view unknown",
        "smaller": "another image of the study chosen",
    }
    assert sorted(rejected[rejected["level"] == "study"]["study_id"]) == [
        "50000002",
        "50000003",
        "50000004",
        "50000007",
    ]


@pytest.mark.parametrize(("policy", "value"), [("mask", -1), ("zeros", 0), ("ones", 1)])
def test_the_policy_for_labels_in_doubt(mimic, policy, value):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001, labels={"Edema": -1.0, "Fracture": 1.0})
    mimic.add_study(10000001, 50000002, date="21500102", labels={"Edema": -1.0})
    studies = select_studies(read_mimic(mimic.write()), CohortSettings(uncertain=policy)).studies
    assert studies["Edema"].tolist() == [value] * (2 if policy == "ones" else 1)  # decided before eligibility
    assert studies["Fracture"][0] == 1 and np.isnan(studies["Pneumonia"][0])


def test_labels_can_be_read_from_the_reports(mimic):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001, report="IMPRESSION:  Small left pleural effusion. No pneumothorax.")
    mimic.add_study(10000001, 50000002, report=None)
    mimic.add_study(10000001, 50000003, date="21500102", report="IMPRESSION:  No acute process.")
    cohort = select_studies(read_mimic(mimic.write(without=("mimic-cxr-2.0.0-chexpert",)), labels="report"))
    assert cohort.studies["Pleural Effusion"].tolist()[:1] == [1]
    assert cohort.studies["Pneumothorax"].tolist()[:1] == [0]
    assert cohort.studies["No Finding"].tolist()[1:] == [1]
    assert cohort.rejections.counts("study") == {"labels not eligible": 1}


def test_without_label_tables_the_message_names_the_way_out(mimic):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001)
    with pytest.raises(TableError, match="--labels report"):
        select_studies(read_mimic(mimic.write(without=("mimic-cxr-2.0.0-chexpert",))))


def test_tables_alone_make_a_cohort_if_asked(mimic):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001, image=False)
    assert len(select_studies(read_mimic(mimic.write()), CohortSettings(require_files=False)).studies) == 1


def test_dicom_files_in_the_same_layout_are_found(mimic):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001)
    root = mimic.write()
    path = next(root.rglob("*.jpg"))
    path.rename(path.with_suffix(".dcm"))
    assert select_studies(read_mimic(root)).studies["image_path"].tolist() == [str(path.with_suffix(".dcm").resolve())]


def test_races_that_differ_are_recorded(mimic):
    mimic.add_patient(10000001, races=("WHITE", "ASIAN", "WHITE", "UNKNOWN"))
    mimic.add_study(10000001, 50000001)
    conflicts = select_studies(read_mimic(mimic.write())).race_conflicts
    assert conflicts.to_dict("records") == [
        {"subject_id": "10000001", "race": "WHITE", "count": 2, "chosen": "WHITE"},
        {"subject_id": "10000001", "race": "ASIAN", "count": 1, "chosen": "WHITE"},
    ]


@pytest.mark.parametrize("date", ["", "21501399", "tomorrow"])
def test_a_study_without_a_usable_date_is_rejected_and_the_rest_goes_on(mimic, date):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001)
    mimic.add_study(10000001, 50000002, date=date)
    cohort = select_studies(read_mimic(mimic.write()))
    assert cohort.rejections.counts("study") == {"study date or time unusable": 1} and len(cohort.studies) == 1


def test_a_report_in_another_encoding_is_read(mimic):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001, report="IMPRESSION:  x")
    root = mimic.write()
    next(root.rglob("*.txt")).write_bytes("IMPRESSION: Small left effusion, vue à gauche.".encode("latin-1"))
    assert select_studies(read_mimic(root, labels="report")).studies["Pleural Effusion"].tolist() == [1]
