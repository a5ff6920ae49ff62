"""Dates and times of studies, as MIMIC's table stores DICOM's."""

import pandas as pd


def parse_study_datetime(dates: pd.Series, times: pd.Series) -> pd.Series:
    """Combine StudyDate and StudyTime.

    Args:
        dates: YYYYMMDD as text; a trailing ".0" is allowed.
        times: HHMMSS.fff that was stored as a float, without leading zeros: "2014.5" is 00:20:14.5.

    Returns:
        datetime64[ns]; NaT where either is missing or impossible.

    Example:
        >>> parse_study_datetime(pd.Series(["21800506"]), pd.Series(["2014.5"]))[0]
        Timestamp('2180-05-06 00:20:14.500000')
    """
    day = pd.to_datetime(dates.astype("string").str.removesuffix(".0"), format="%Y%m%d", errors="coerce")
    clock = pd.to_numeric(times, errors="coerce").astype("float64")
    hours, minutes, seconds = clock // 10000, clock % 10000 // 100, clock % 100
    valid = (clock >= 0) & (hours < 24) & (minutes < 60) & (seconds < 61)  # 60 is a leap second
    milliseconds = ((hours * 3600 + minutes * 60 + seconds) * 1000).round()
    combined = day + pd.to_timedelta(milliseconds.where(valid), unit="ms")
    return combined.astype("datetime64[ns]")
