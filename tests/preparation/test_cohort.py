import numpy as np
import pandas as pd
import pytest

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.preparation.cohort import build_cohort, is_eligible, is_pa
from biomedjourney_monai.schema import CHEXPERT_LABELS, STUDY_COLUMNS


def test_the_small_cohort(small_mimic):
    cohort = build_cohort(small_mimic)
    studies = cohort.studies
    assert tuple(studies.columns) == STUDY_COLUMNS
    assert studies["study_id"].tolist() == [
        *("50000009", "50000003", "50000001"),  # by time, not by identifier
        *("50000011", "50000012", "50000021", "50000022"),
    ]
    assert cohort.image_drops == {"view not PA": 1} and cohort.study_drops == {}
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
    assert is_pa(images).tolist() == [True, True, True, True, False, False, False]


def test_the_image_with_the_most_pixels_is_chosen_and_one_that_is_missing_never_is(mimic):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001, dicom_id="a", rows=200)
    mimic.add_study(10000001, 50000001, dicom_id="c", rows=300)
    mimic.add_study(10000001, 50000001, dicom_id="b", rows=300)
    mimic.add_study(10000001, 50000001, dicom_id="d", rows=900, image=False)
    cohort = build_cohort(mimic.write())
    assert cohort.studies["dicom_id"].tolist() == ["b"]
    assert cohort.image_drops == {"image file missing": 1, "another image of the study chosen": 2}


def test_every_drop_has_its_reason(mimic):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001)
    mimic.add_study(10000001, 50000002, view="AP")
    mimic.add_study(10000001, 50000003, image=False)
    mimic.add_study(10000001, 50000004, date="21509999")
    mimic.add_study(10000001, 50000005, labels={"Edema": -1.0})
    mimic.add_study(10000001, 50000006, labelled=False)
    mimic.add_study(10000001, 50000007, dicom_id="..x", image=False)
    cohort = build_cohort(mimic.write())
    assert cohort.studies["study_id"].tolist() == ["50000001"]
    assert cohort.image_drops == {"identifier malformed": 1, "view not PA": 1, "image file missing": 1}
    assert cohort.study_drops == {
        "no PA image": 2,
        "image file missing": 1,
        "study date or time unusable": 1,
        "labels not eligible": 2,
    }
    assert len(cohort.studies) + sum(cohort.study_drops.values()) == 7


def test_nothing_eligible_is_an_error_with_the_reasons(mimic):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001, view="LATERAL")
    with pytest.raises(TableError, match="view not PA: 1"):
        build_cohort(mimic.write())


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
    studies = build_cohort(mimic.write()).studies
    assert studies["age_at_study"].tolist()[:2] == [57, 62]
    assert studies["anchor_age"].tolist()[:2] == [60, 60]
    assert np.isnan(studies["anchor_age"][2]) and studies["sex"][2] == "" and studies["race"][2] == ""


def test_without_mimic_iv_the_cohort_still_stands(mimic):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001)
    studies = build_cohort(mimic.write(without=("hosp/patients", "hosp/admissions"))).studies
    assert studies["race"].tolist() == [""] and np.isnan(studies["age_at_study"][0])


def test_the_official_split_is_taken_from_its_table(small_mimic):
    assert set(build_cohort(small_mimic, split="official").studies["split"]) == {"train"}


def test_reports_may_lie_in_a_folder_of_their_own(mimic, tmp_path):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001)
    root = mimic.write()
    report = root / "files" / "p10" / "p10000001" / "s50000001.txt"
    elsewhere = root / "mimic-cxr-reports" / "files" / "p10" / "p10000001" / "s50000001.txt"
    elsewhere.parent.mkdir(parents=True)
    report.rename(elsewhere)
    assert build_cohort(root).studies["report_path"].tolist() == [str(elsewhere.resolve())]
    assert build_cohort(root, reports=root / "mimic-cxr-reports").studies["report_path"].tolist() == [
        str(elsewhere.resolve())
    ]
    with pytest.raises(TableError, match="--reports"):
        build_cohort(root, reports=tmp_path / "absent")


def test_identifiers_cannot_lead_out_of_the_folder(mimic):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001)
    mimic.images.append(dict(mimic.images[0]) | {"dicom_id": "../../../secret", "study_id": 50000002})
    cohort = build_cohort(mimic.write())
    assert cohort.image_drops["identifier malformed"] == 1
    assert not cohort.studies["image_path"].str.contains("secret").any()
