import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedjourney_monai.errors import SettingError, TableError
from biomedjourney_monai.preparation.cohort.mimic import read_mimic
from biomedjourney_monai.preparation.cohort.selection import select_studies
from biomedjourney_monai.preparation.journeys import build_journeys, read_studies
from biomedjourney_monai.schema import CHEXPERT_LABELS, JOURNEY_COLUMNS, STUDIES_FILE, STUDY_COLUMNS

STUDIES = ["prior_study_id", "new_study_id"]


def make_studies(rows: list[tuple[str, str, str]], split: str = "train") -> pd.DataFrame:
    """(subject, study, time) → a table of studies."""
    table = pd.DataFrame(rows, columns=["subject_id", "study_id", "study_datetime"])
    table["study_datetime"] = pd.to_datetime(table["study_datetime"], format="mixed").astype("datetime64[ns]")
    table["dicom_id"] = "d" + table["study_id"]
    table["image_path"] = "/" + table["dicom_id"]
    table = table.assign(view_position="PA", report_path="", sex="F", race="", split=split)
    table = table.assign(anchor_age=60.0, age_at_study=np.arange(len(table), dtype=float))
    for number, label in enumerate(CHEXPERT_LABELS):
        table[label] = np.float32(number % 2)
    return table[list(STUDY_COLUMNS)]


def test_consecutive_studies_in_order_of_time_not_of_identifiers():
    studies = make_studies(
        [
            ("2", "9", "2150-01-01 10:00"),
            ("2", "1", "2150-01-03 22:00"),
            ("2", "5", "2150-01-03 10:00"),
            ("1", "7", "2150-05-01"),
        ]
    )
    journeys, drops = build_journeys(studies)
    assert tuple(journeys.columns) == JOURNEY_COLUMNS
    assert list(zip(journeys["prior_study_id"], journeys["new_study_id"])) == [("9", "5"), ("5", "1")]
    assert journeys["days_between"].tolist() == [2.0, 0.5]
    assert journeys["journey_id"].tolist() == ["j000000", "j000001"]
    assert drops == {}
    assert journeys["new_dicom_id"].tolist() == ["d5", "d1"]
    assert journeys["prior_age"].tolist() == [0, 2] and journeys["new_age"].tolist() == [2, 1]


def test_the_same_instant_has_no_order():
    journeys, drops = build_journeys(make_studies([("1", "1", "2150-01-01"), ("1", "2", "2150-01-01")]))
    assert journeys.empty and drops == {"studies at the same instant": 1}


def test_intervals_are_limited_on_both_sides():
    studies = make_studies([("1", str(n), f"2150-01-{day:02d}") for n, day in enumerate((1, 2, 10, 31))])
    journeys, drops = build_journeys(studies, min_days=2, max_days=20)
    assert journeys["days_between"].tolist() == [8.0]
    assert drops == {"interval too short": 1, "interval too long": 1}
    with pytest.raises(SettingError, match="max_days"):
        build_journeys(studies, min_days=3, max_days=2)


def test_a_journey_never_spans_two_splits():
    studies = make_studies([("1", "1", "2150-01-01"), ("1", "2", "2150-01-02")])
    studies["split"] = ["train", "test"]
    journeys, drops = build_journeys(studies)
    assert journeys.empty and drops == {"studies in two splits": 1}


def test_no_studies_no_journeys():
    journeys, drops = build_journeys(make_studies([]))
    assert tuple(journeys.columns) == JOURNEY_COLUMNS and journeys.empty and drops == {}


def test_visits_apart_pairs_a_study_with_later_ones_too():
    rows = [("1", name, f"2150-01-0{day}") for day, name in enumerate("abcd", start=1)] + [("2", "e", "2150-01-05")]
    pairs = {
        apart: [a + b for a, b in build_journeys(make_studies(rows), visits_apart=apart)[0][STUDIES].to_numpy()]
        for apart in (1, 2, None)
    }
    assert pairs == {
        1: ["ab", "bc", "cd"],
        2: ["ab", "ac", "bc", "bd", "cd"],
        None: ["ab", "ac", "ad", "bc", "bd", "cd"],
    }
    with pytest.raises(SettingError, match="visits_apart"):
        build_journeys(make_studies(rows), visits_apart=0)


def test_a_journey_has_days_only_where_both_studies_have_a_date():
    studies = make_studies([("1", str(n), f"2150-01-0{n}") for n in (1, 2, 3, 4)])
    studies["order_from"] = ["date", "date", "report order", "date"]
    journeys, drops = build_journeys(studies)
    assert journeys["order_from"].tolist() == ["date", "report order", "report order"] and drops == {}
    assert journeys["days_between"].fillna(-1).tolist() == [1, -1, -1]
    assert build_journeys(studies, min_days=1)[1] == {"interval unknown": 2}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10**6)), max_size=12, unique=True),
    st.randoms(use_true_random=False),
)
def test_against_a_plain_loop(visits, random):
    start = pd.Timestamp("2150-01-01")
    rows = [(subject, f"{n}", start + pd.Timedelta(minutes=m)) for n, (subject, m) in enumerate(visits)]
    expected = []
    for _subject, group in itertools.groupby(sorted(rows, key=lambda r: (r[0], r[2])), key=lambda r: r[0]):
        group = list(group)
        expected += [(a[1], b[1]) for a, b in itertools.pairwise(group)]
    random.shuffle(rows)
    journeys, _drops = build_journeys(make_studies(rows))
    assert list(zip(journeys["prior_study_id"], journeys["new_study_id"])) == expected
    assert (journeys["days_between"] > 0).all()


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
