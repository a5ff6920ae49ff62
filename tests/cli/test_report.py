import pytest

from biomedjourney_monai.cli.main import main


def test_report_without_an_evaluation_says_what_to_run(tmp_path, capsys):
    assert main(["report", "--work", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "biomedjourney evaluate" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("option", ["--panels", "--seed"])
def test_negative_numbers_are_refused(tmp_path, capsys, option):
    assert main(["report", "--work", str(tmp_path), option, "-1"]) == 2
    assert "must be >= 0" in capsys.readouterr().err
