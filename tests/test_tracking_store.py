import sqlite3
from pathlib import Path

import pytest

from biomedjourney_monai.tracking_store import artifact_address, local_database, open_store, remove_quoted_folder

ODD = "a b?c#d%20e'f"


def write_store(folder: Path, place: Path) -> None:
    """The tables of MLflow that hold addresses, with one artifact."""
    folder.mkdir(parents=True, exist_ok=True)
    (place / "1").mkdir(parents=True)
    with sqlite3.connect(folder / "mlruns.db") as store:
        store.execute("CREATE TABLE experiments (artifact_location TEXT)")
        store.execute("CREATE TABLE runs (artifact_uri TEXT)")
        store.execute("CREATE TABLE tags (key TEXT, value TEXT)")
        store.execute("CREATE TABLE model_versions (source TEXT)")
        store.execute("INSERT INTO experiments VALUES (?)", (place.as_uri(),))
        store.execute("INSERT INTO runs VALUES (?)", (f"{place.as_uri()}/1",))
        store.execute("INSERT INTO tags VALUES ('biomedjourney.output_dir', ?)", (str(folder),))
        store.execute("INSERT INTO tags VALUES ('note', ?)", (f"{folder}-and-more",))
        store.execute("INSERT INTO model_versions VALUES ('models:/m-1')")
    store.close()


def addresses(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "mlruns.db") as store:
        names = (("artifact_location", "experiments"), ("artifact_uri", "runs"), ("value", "tags"))
        return [row[0] for column, table in names for row in store.execute(f"SELECT {column} FROM {table}")]


@pytest.mark.parametrize("name", ["plain", ODD])
@pytest.mark.parametrize("place", ["mlartifacts", "mlruns"])
def test_a_moved_store_is_followed_by_its_artifacts(tmp_path, name, place):
    old, new = tmp_path / "old" / "runs", tmp_path / name / "runs"
    write_store(old, old / place)
    old.parent.rename(new.parent)
    uri = open_store(new)
    assert local_database(uri) == new / "mlruns.db"
    expected = [(new / place).as_uri(), (new / place / "1").as_uri(), str(new), f"{old}-and-more"]
    assert addresses(new) == expected
    new.parent.rename(old.parent)
    open_store(old)
    assert addresses(old)[:3] == [(old / place).as_uri(), (old / place / "1").as_uri(), str(old)]


def test_artifacts_elsewhere_stay_there(tmp_path):
    write_store(tmp_path / "work", tmp_path / "share" / "mlartifacts")
    before = addresses(tmp_path / "work")
    open_store(tmp_path / "work")
    assert addresses(tmp_path / "work") == before


def test_a_new_store_is_for_its_owner_alone(tmp_path):
    open_store(tmp_path / "work" / "runs")
    runs = tmp_path / "work" / "runs"
    modes = [oct(path.stat().st_mode & 0o777) for path in (tmp_path / "work", runs / "mlartifacts", runs / "mlruns.db")]
    assert modes == ["0o700", "0o700", "0o600"]


def test_another_store_decides_on_its_artifacts(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert artifact_address(tmp_path / ODD) == (tmp_path / ODD / "mlartifacts").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert artifact_address(tmp_path / ODD) is None
    assert local_database("http://127.0.0.1:5000") is None


def test_the_address_is_understood_by_the_database_library(tmp_path):
    from sqlalchemy.engine import make_url

    assert make_url(open_store(tmp_path / ODD)).database == str(tmp_path / ODD / "mlruns.db")


def test_only_the_empty_quoted_folder_is_removed(tmp_path):
    uri = open_store(tmp_path / ODD)
    quoted = Path(uri.removeprefix("sqlite:///")).parent
    quoted.mkdir()
    remove_quoted_folder(uri)
    assert [path.name for path in tmp_path.iterdir()] == [ODD]
    quoted.mkdir()
    (quoted / "mine").touch()
    remove_quoted_folder(uri)
    assert (quoted / "mine").exists()
    remove_quoted_folder(open_store(tmp_path / "plain"))
    assert (tmp_path / "plain").exists()
