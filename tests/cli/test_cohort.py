import json

import pandas as pd
import pytest

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.schema import STUDY_COLUMNS


def test_the_table_the_counts_and_the_lines(small_mimic, tmp_path, capsys):
    assert main(["cohort", "--source", str(small_mimic), "--work", str(tmp_path / "work")]) == 0
    studies = pd.read_parquet(tmp_path / "work" / "studies.parquet")
    assert tuple(studies.columns) == STUDY_COLUMNS and len(studies) == 7
    counts = json.loads((tmp_path / "work" / "cohort_drops.json").read_text())
    assert counts["kept"] == 7 and counts["images_dropped"] == {"view not PA": 1} and counts["without_report"] == 1
    printed = capsys.readouterr().out
    assert "7 studies of 3 patients" in printed and "view not PA 1" in printed


def test_messages_carry_no_identifiers(small_mimic, tmp_path, capsys):
    main(["cohort", "--source", str(small_mimic), "--work", str(tmp_path / "work")])
    captured = capsys.readouterr()
    assert not any(number in captured.out + captured.err for number in ("10000001", "50000009", "2150"))


@pytest.mark.parametrize(
    "arguments",
    [["--source", "absent"], ["--source", "."], ["--source", ".", "--validation-share", "1"]],
)
def test_mistakes_are_one_line_and_leave_nothing(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    assert main(["cohort", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_missing_demographics_are_mentioned(mimic, tmp_path, capsys):
    mimic.add_study(10000001, 50000001)
    mimic.add_patient(10000001)
    source = mimic.write(without=("hosp/patients", "hosp/admissions"))
    assert main(["cohort", "--source", str(source), "--work", str(tmp_path / "work")]) == 0
    assert "no ages" in capsys.readouterr().out
