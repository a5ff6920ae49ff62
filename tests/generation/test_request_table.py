import pytest

from biomedjourney_monai.errors import ConfigError, TableError
from biomedjourney_monai.generation.request_table import PriorRequest, list_requests

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


@pytest.mark.parametrize("content", ["", "prior,text\na,b\n", "prior,description\n", "prior,description\n\xff"])
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
