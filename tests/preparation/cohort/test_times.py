from datetime import datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.preparation.cohort.times import parse_study_datetime


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
