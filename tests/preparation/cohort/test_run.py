import json

import pandas as pd
import pytest

from biomedjourney_monai.errors import ConfigError, SettingError
from biomedjourney_monai.preparation.cohort.run import find_studies


def test_the_result_is_what_was_written(small_mimic, tmp_path):
    found = find_studies(small_mimic, tmp_path, report=True, processes=1)
    pd.testing.assert_frame_equal(found.studies, pd.read_parquet(tmp_path / "studies.parquet"), check_dtype=False)
    assert found.counts == json.loads((tmp_path / "cohort_drops.json").read_text())
    assert found.rejected == tmp_path / "rejected.csv" and found.report == tmp_path / "cohort_report.html"
    assert find_studies(small_mimic, tmp_path, eligibility="finding", processes=1).report is None


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"validation_share": 1.0}, "validation_share"),
        ({"processes": -1}, "processes"),
        ({"kind": "nifti"}, "kind"),
        ({"labels": "chexbert"}, "labels"),
        ({"uncertain": "skip"}, "uncertain"),
        ({"split": "random"}, "split"),
        ({"eligibility": "all"}, "eligibility"),
        ({"unknown_view": "keep"}, "unknown_view"),
    ],
)
def test_a_setting_out_of_range_is_named_and_nothing_written(small_mimic, tmp_path, settings, name):
    with pytest.raises(SettingError) as caught:
        find_studies(small_mimic, tmp_path / "work", **settings)
    assert caught.value.name == name and not (tmp_path / "work").exists()


def test_settings_that_contradict_each_other_are_refused(small_mimic, tmp_path):
    for settings in ({"check_mirrored": True}, {"check_views": True, "require_files": False}, {"pseudonym_key": "key"}):
        with pytest.raises(ConfigError):
            find_studies(small_mimic, tmp_path / "work", **settings)
    with pytest.raises(ConfigError, match="reports"):
        find_studies(small_mimic, tmp_path / "work", kind="dicom")
