import pandas as pd
import pytest

from biomedjourney_monai.cli.main import main


@pytest.fixture
def work(small_mimic, tmp_path):
    main(["cohort", "--source", str(small_mimic), "--work", str(tmp_path / "work")])
    return tmp_path / "work"


def test_the_table_and_the_lines(work, capsys):
    assert main(["journeys", "--work", str(work)]) == 0
    assert len(pd.read_parquet(work / "journeys.parquet")) == 4
    assert "4 journeys of 3 patients" in capsys.readouterr().out


def test_limits_are_applied_and_counted(work, capsys):
    assert main(["journeys", "--work", str(work), "--min-days", "5", "--max-days", "20"]) == 0
    assert len(pd.read_parquet(work / "journeys.parquet")) == 1
    assert "interval too long 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    "limits", [["--min-days", "9", "--max-days", "1"], ["--min-days", "-1"], ["--min-days", "999"]]
)
def test_impossible_limits(work, capsys, limits):
    assert main(["journeys", "--work", str(work), *limits]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (work / "journeys.parquet").exists()


def test_without_studies_it_says_what_to_run(tmp_path, capsys):
    assert main(["journeys", "--work", str(tmp_path)]) == 2
    assert "biomedjourney cohort" in capsys.readouterr().err
