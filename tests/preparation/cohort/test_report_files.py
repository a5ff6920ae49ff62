import contextlib
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.preparation.cohort.report_files import ReportFinder

STUDIES = pd.DataFrame(
    {
        "study_id": ["51", "52", "53"],
        "accession_number": ["007", "", "A3"],
        "study_instance_uid": ["1.2.3", "1.2.4", "1.2.5"],
    }
)


def texts(finder, studies=STUDIES) -> list[str]:
    return [Path(path).read_text(encoding="utf-8") if path else "" for path in finder.find(studies)]


def test_a_table_is_matched_by_accession_number_as_text(tmp_path):
    (tmp_path / "r.csv").write_text('accession_number,text\n007,"IMPRESSION: Clear,\nand calm."\n7,wrong\nA3,third\n')
    finder = ReportFinder.open(tmp_path / "r.csv", texts=tmp_path / "texts")
    assert texts(finder) == ["IMPRESSION: Clear,\nand calm.", "", "third"]
    assert sorted(path.name for path in (tmp_path / "texts").iterdir()) == ["51.txt", "53.txt"]


def test_the_study_instance_uid_is_the_second_choice(tmp_path):
    (tmp_path / "r.csv").write_text(
        "study_instance_uid,accession_number,text\n1.2.3,,by uid\n1.2.4,,two\n1.2.9,007,by number\n"
    )
    assert texts(ReportFinder.open(tmp_path / "r.csv", texts=tmp_path / "t")) == ["by number", "two", ""]


def test_text_files_are_matched_by_their_name_wherever_they_lie(tmp_path):
    for place, text in (("a/007.txt", "one"), ("1.2.4.txt", "two"), ("A3.txt", "x"), ("b/A3.txt", "y")):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(text)
    assert texts(ReportFinder.open(tmp_path, texts=tmp_path / "t")) == ["one", "two", ""]  # A3 is there twice


def test_cells_that_are_not_utf8_are_read_as_latin_1(tmp_path):
    (tmp_path / "r.csv").write_bytes("accession_number,text\n007,épanchement\n".encode("latin-1") + "A3,é\n".encode())
    assert texts(ReportFinder.open(tmp_path / "r.csv", texts=tmp_path / "t")) == ["épanchement", "", "é"]


def test_without_reports_there_are_none(tmp_path):
    assert texts(ReportFinder.open(None, texts=tmp_path)) == ["", "", ""]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "CSV"),
        (b"number,text\n1,x\n", "'accession_number' or 'study_instance_uid'"),
        (b"accession_number,report\n1,x\n", "'text'"),
        (b"accession_number,text\n", "empty"),
        (b"accession_number,text\n1,x\n1,y\n", "'accession_number'.*repeat"),
        (b'accession_number,text\n1,"x\n', "CSV"),
    ],
)
def test_a_bad_table_names_its_column(tmp_path, content, message):
    (tmp_path / "r.csv").write_bytes(content)
    with pytest.raises(TableError, match=message):
        ReportFinder.open(tmp_path / "r.csv", texts=tmp_path)


def test_reports_that_are_not_there_are_an_error(tmp_path):
    with pytest.raises(TableError, match="--reports"):
        ReportFinder.open(tmp_path / "absent", texts=tmp_path)


@settings(max_examples=80)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_finder_or_an_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("table") / "r.csv"
    path.write_bytes(b"accession_number,text\n" + data)
    with contextlib.suppress(TableError):
        ReportFinder.open(path, texts=path.parent)
