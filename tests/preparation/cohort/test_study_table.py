import pandas as pd
import pytest

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.preparation.cohort.mimic import read_mimic
from biomedjourney_monai.preparation.cohort.selection import select_studies
from biomedjourney_monai.preparation.cohort.study_table import read_studies
from biomedjourney_monai.schema import STUDIES_FILE


@pytest.fixture
def studies(small_mimic):
    return select_studies(read_mimic(small_mimic)).studies


def test_what_cohort_writes_passes_as_it_is(studies, tmp_path):
    studies.to_parquet(tmp_path / STUDIES_FILE, index=False)
    pd.testing.assert_frame_equal(read_studies(tmp_path), studies, check_dtype=False)


def with_first(table, column, value):
    return table.assign(**{column: [value, *table[column].tolist()[1:]]})


@pytest.mark.parametrize(
    ("column", "spoil"),
    [
        ("study_datetime", lambda table: table.assign(study_datetime=table["study_datetime"].astype(str))),
        ("study_datetime", lambda table: with_first(table, "study_datetime", pd.NaT)),
        ("study_id", lambda table: with_first(table, "study_id", table["study_id"].iloc[1])),
        ("dicom_id", lambda table: with_first(table, "dicom_id", table["dicom_id"].iloc[1])),
        ("dicom_id", lambda table: with_first(table, "dicom_id", "../../out")),
        ("subject_id", lambda table: table.assign(subject_id=table["subject_id"].astype(int))),
        ("image_path", lambda table: with_first(table, "image_path", None)),
        ("split", lambda table: with_first(table, "split", "training")),
        ("split", lambda table: table.drop(columns="split")),
    ],
)
def test_a_bad_table_is_refused_and_its_column_named(studies, tmp_path, column, spoil):
    spoil(studies).to_parquet(tmp_path / STUDIES_FILE, index=False)
    with pytest.raises(TableError, match=column) as refused:
        read_studies(tmp_path)
    assert "../../out" not in str(refused.value)


def test_a_missing_table_says_what_to_run(tmp_path):
    with pytest.raises(TableError, match="cohort"):
        read_studies(tmp_path)
