import pytest

from biomedjourney_monai.errors import ConfigError, TableError
from biomedjourney_monai.generation.request_table import PriorRequest, list_requests, read_request_table

HEADER = "prior,description,seed\n"


@pytest.fixture
def folder(tmp_path):
    priors = tmp_path / "priors"
    priors.mkdir()
    for name in ("b.png", "a.dcm", ".hidden"):
        (priors / name).touch()
    (priors / "sub").mkdir()
    return priors


def told(requests):
    return [(r.image.rpartition("/")[2], r.description, r.seed, getattr(r.error, "reason", None)) for r in requests]


def test_without_a_table_every_file_gets_the_description_in_order_of_name(folder):
    assert told(list_requests(None, folder, description="Edema.", seed=4)) == [
        ("a.dcm", "Edema.", 4, None),
        ("b.png", "Edema.", 4, None),
    ]
    assert told(list_requests("x.png", None, description="Edema.")) == [("x.png", "Edema.", 0, None)]


def test_the_rows_of_a_table_are_the_requests_and_files_without_a_row_are_refused(folder, tmp_path):
    table = tmp_path / "texts.csv"
    table.write_text(HEADER + "b.png, Edema. ,7\nb.png,Clear.,\n")
    assert told(list_requests(None, folder, descriptions=table, seed=1)) == [
        ("b.png", "Edema.", 7, None),
        ("b.png", "Clear.", 1, None),
        ("a.dcm", "", 1, "no_description"),
    ]


def test_the_folders_own_table_is_taken_and_is_no_image(folder):
    (folder / "descriptions.csv").write_text("prior,description\na.dcm,Edema.\nb.png,Clear.\n")
    assert told(list_requests(None, folder)) == [("a.dcm", "Edema.", 0, None), ("b.png", "Clear.", 0, None)]


@pytest.mark.parametrize("name", ["../outside.png", "/etc/passwd", "nowhere.png", "sub", ".hidden", ""])
def test_a_row_names_a_file_of_the_folder_and_never_a_path(folder, tmp_path, name):
    (tmp_path / "outside.png").touch()
    (folder / "descriptions.csv").write_text(f"{HEADER}{name},Edema.,\nb.png,Edema.,-1\n")
    requests = list_requests(None, folder)
    assert (requests[0].image, requests[0].error.reason) == ("", "image file missing")
    assert requests[1].error.reason == "seed unusable"


@pytest.mark.parametrize("content", ["", "prior,text\na,b\n", "prior,description\n", "prior,description\n\x81"])
def test_a_table_that_cannot_be_used_is_refused(folder, content):
    (folder / "descriptions.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(TableError, match="--descriptions"):
        list_requests(None, folder)


@pytest.mark.parametrize(("prior", "folder"), [(None, None), ("a.png", "b"), (None, "nowhere")])
def test_one_image_or_a_folder_of_some(prior, folder):
    with pytest.raises(ConfigError):
        list_requests(prior, folder)


def test_a_request_shows_nothing_of_the_patient():
    assert "DOE" not in repr(PriorRequest("/x/DOE.dcm", "DOE has edema.", 0))


COLUMNS = ("prior", "description", "out")
ROWS = [{"prior": "p1.png", "description": "Ödem, klein.", "out": "a1.png"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("header", ["prior,description,out", "Prior,DESCRIPTION, Out "])
def test_a_list_is_read_as_spreadsheets_save_it(tmp_path, encoding, end, mark, header):
    lines = [header.replace(",", mark), mark.join(["p1.png", '"Ödem, klein."', "a1.png"]), mark * 2, ""]
    (tmp_path / "list.csv").write_bytes(end.join(lines).encode(encoding))
    assert read_request_table(tmp_path / "list.csv", option="--csv", columns=COLUMNS) == ROWS


def test_the_separator_that_excel_declares_and_columns_with_spaces(tmp_path):
    (tmp_path / "list.csv").write_bytes(b"sep=;\r\nPatient ID;Description\r\n7;Edema\r\n")
    rows = read_request_table(
        tmp_path / "list.csv", option="--work-list", columns=("description",), any_of=("patient_id", "study_uid")
    )
    assert rows == [{"patient_id": "7", "description": "Edema"}]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (
            "prior;text\nDOE.png;b\n",
            "none named description, out in UTF-8 text with prior, 1 other column, separated",
        ),
        ("DOE.png;Edema;Smith.png\n", "3 other columns, separated by semicolons"),
        ("prior,out\n\xd6,b\n", "none named description in Windows-1252 text with prior, out, separated"),
        ("prior description out\nDOE\n", "with one column"),
        ("", "with no line"),
        ("PK\x03\x04 DOE", "an Excel or OpenDocument workbook"),
        ("prior,description,out\nDOE.png,\x81,b", "bytes that are not UTF-8 or Windows-1252 text"),
        ('prior,description,out\nDOE.png,"Edema,a.png\nb.png,Edema,b.png\n', "a quotation mark that is not closed"),
        ("prior,Out,description,out\nDOE.png,a,b,c\n", "several named out"),
    ],
)
def test_a_list_that_cannot_be_read_says_what_was_found_and_no_cell(tmp_path, content, found):
    (tmp_path / "list.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(TableError) as error:
        read_request_table(tmp_path / "list.csv", option="--csv", columns=COLUMNS)
    assert found in str(error.value)
    assert "DOE" not in str(error.value) and "Smith" not in str(error.value)


def test_a_row_with_a_separator_in_its_text_is_refused_and_not_cut(folder):
    (folder / "descriptions.csv").write_text("prior,description\na.dcm,Edema, left.\nb.png,Clear.\n")
    first, second = list_requests(None, folder)
    assert first.error.reason == "more cells than columns"
    assert second.error is None
