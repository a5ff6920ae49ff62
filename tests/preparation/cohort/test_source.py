from datetime import datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedjourney_monai.preparation.cohort.source import paper_split, parse_study_datetime


def parse(date: str | None, time: str | None):
    return parse_study_datetime(pd.Series([date], dtype=object), pd.Series([time], dtype=object))[0]


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("21800506", "213014.531", "2180-05-06 21:30:14.531"),
        ("21800506", "2014.5", "2180-05-06 00:20:14.5"),
        ("21800506", "0.0", "2180-05-06 00:00:00"),
        ("21800506.0", "81500", "2180-05-06 08:15:00"),
        ("21801231", "235959.999", "2180-12-31 23:59:59.999"),
        ("21801231", "235960", "2181-01-01 00:00:00"),
    ],
)
def test_times_that_lost_their_leading_zeros(date, time, expected):
    assert parse(date, time) == pd.Timestamp(expected)


@pytest.mark.parametrize(
    ("date", "time"),
    [
        ("21800230", "120000"),
        ("2180", "120000"),
        ("yesterday", "120000"),
        (None, "120000"),
        ("", "120000"),
        ("21800506", "240000"),
        ("21800506", "126000"),
        ("21800506", "120061.5"),
        ("21800506", "-1"),
        ("21800506", "noon"),
        ("21800506", None),
    ],
)
def test_impossible_times_are_not_a_time(date, time):
    assert pd.isna(parse(date, time))


@given(st.datetimes(datetime(1900, 1, 1), datetime(2261, 1, 1)))
def test_a_time_written_as_a_float_comes_back(moment):
    moment -= timedelta(microseconds=moment.microsecond % 1000)
    clock = float(moment.strftime("%H%M%S") + f".{moment.microsecond // 1000:03d}")
    assert parse(moment.strftime("%Y%m%d"), str(clock)) == pd.Timestamp(moment)


def test_the_column_type_is_the_schemas():
    assert str(parse_study_datetime(pd.Series(["21800506"]), pd.Series(["1"])).dtype) == "datetime64[ns]"


subjects = st.lists(st.integers(10_000_000, 19_999_999).map(str), min_size=1, max_size=50)


@settings(max_examples=30, deadline=None)
@given(subjects, st.integers(0, 5))
def test_the_patient_alone_decides(ids, seed):
    once = paper_split(pd.Series(ids), seed=seed)
    twice = paper_split(pd.Series(ids + ids), seed=seed)
    assert list(twice) == list(once) * 2
    for subject, split in zip(ids, once):
        assert (split == "test") == subject.startswith("19")
        assert paper_split(pd.Series([subject]), seed=seed)[0] == split


def test_the_validation_share_is_kept_and_the_seed_moves_it():
    ids = pd.Series([str(10_000_000 + 977 * n) for n in range(9000)])
    split = paper_split(ids, validation_share=0.1)
    assert abs((split == "validate").mean() - 0.1) < 0.01
    assert (paper_split(ids, validation_share=0.1, seed=1) != split).mean() > 0.1
    assert set(paper_split(ids, validation_share=0.0)) == {"train"}


def test_an_index_of_any_kind_is_kept():
    ids = pd.Series(["19000001", "10000001"], index=[7, 3])
    assert paper_split(ids, validation_share=0).to_dict() == {7: "test", 3: "train"}
