import json
import math
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.files import (
    make_folder,
    read_json,
    read_json_lines,
    read_table,
    write_json,
    write_json_lines,
    write_table,
    written_atomically,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers()
VALUES = st.none() | st.booleans() | NUMBERS | TEXT | st.lists(TEXT | NUMBERS, max_size=3)


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_an_atomic_write_appears_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with written_atomically(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.suffix == ".txt"
    assert path.read_text() == "whole"
    assert names(path.parent) == ["a.txt"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="stop"), written_atomically(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("stop")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_folders_are_written_atomically_too(tmp_path):
    with written_atomically(tmp_path / "folder", public=True) as temporary:
        temporary.mkdir()
        (temporary / "a").touch()
    assert (tmp_path / "folder" / "a").exists()
    with pytest.raises(RuntimeError), written_atomically(tmp_path / "other", public=True) as temporary:
        temporary.mkdir()
        raise RuntimeError
    assert names(tmp_path) == ["folder"]


def test_files_and_new_folders_are_for_their_owner_alone_from_the_start(tmp_path):
    def mode(path):
        return oct(path.stat().st_mode & 0o777)

    tmp_path.chmod(0o755)
    before = os.umask(0o022)
    try:
        with written_atomically(tmp_path / "a" / "b" / "c.txt") as temporary:
            assert mode(temporary) == "0o600"
            temporary.write_text("x")
        with written_atomically(tmp_path / "public" / "c.txt", public=True) as temporary:
            temporary.write_text("x")
        (tmp_path / "a" / "b" / "c.txt").chmod(0o644)
        write_json(tmp_path / "a" / "b" / "c.txt", {})
    finally:
        os.umask(before)
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/c.txt")] == ["0o700", "0o700", "0o600"]
    assert [mode(tmp_path / name) for name in (".", "public", "public/c.txt")] == ["0o755", "0o755", "0o644"]


def test_a_folder_cannot_be_made_where_a_file_is(tmp_path):
    (tmp_path / "a").touch()
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(OSError):
            make_folder(path)


@given(rows=st.lists(st.dictionaries(TEXT, VALUES, min_size=1, max_size=4), min_size=1, max_size=4))
def test_json_lines_go_and_come_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    write_json_lines(path, rows)
    assert read_json_lines(path, made_by="describe") == rows


@pytest.mark.parametrize("mark", ["\u2028", "\u0085", "\x0b", "\r\n", "\x1c"])
def test_line_marks_inside_a_text_do_not_cut_its_line(tmp_path, mark):
    write_json_lines(tmp_path / "a.jsonl", [{"text": f"left{mark}right"}, {"text": "next"}])
    assert read_json_lines(tmp_path / "a.jsonl", made_by="x")[0]["text"] == f"left{mark}right"


def test_numbers_that_json_does_not_know_become_null(tmp_path):
    content = {"a": math.nan, "b": [math.inf, np.float32("nan"), np.float64(0.5), np.int64(3)], 5: (1, -math.inf)}
    write_json(tmp_path / "a.json", content)
    strict = json.loads((tmp_path / "a.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert strict == {"a": None, "b": [None, None, 0.5, 3], "5": [1, None]}


def test_json_does_not_depend_on_the_order_of_keys(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1, "y": 2})
    write_json(tmp_path / "b.json", {"y": 2, "x": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert read_json(tmp_path / "a.json", made_by="x") == {"x": 1, "y": 2}


@pytest.mark.parametrize("content", [b"{", b"[1, 2]\n", b"\xff\xfe", b'"text"\n', b"[" * 100_000])
def test_lines_that_are_no_json_objects_are_one_error(tmp_path, content):
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(TableError, match="biomedjourney describe"):
        read_json_lines(tmp_path / "a.jsonl", made_by="describe")


def test_missing_empty_and_incomplete_lines_say_which_verb_to_run(tmp_path):
    path = tmp_path / "a.jsonl"
    with pytest.raises(TableError, match=r"no such file.*biomedjourney describe"):
        read_json_lines(path, made_by="describe")
    path.write_text("\n\n")
    with pytest.raises(TableError, match="not be empty"):
        read_json_lines(path, made_by="describe")
    path.write_text('{"image": 1}\n{"split": 2, "image": 3}\n')
    with pytest.raises(TableError, match="without split"):
        read_json_lines(path, made_by="describe", keys=("image", "split"))
    assert len(read_json_lines(path, made_by="describe", keys=("image",))) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_broken_json_file_is_one_error(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(TableError, match="must hold JSON"):
        read_json(tmp_path / "a.json", made_by="evaluate")


def test_a_table_goes_and_comes_back(tmp_path):
    table = pd.DataFrame({"subject_id": ["1", "2"], "age": [50.0, math.nan]})
    write_table(tmp_path / "t.parquet", table)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet", columns=["age"], made_by="cohort"), table)


def test_tables_are_refused_that_are_absent_broken_empty_or_narrow(tmp_path):
    path = tmp_path / "t.parquet"
    with pytest.raises(TableError, match="must exist"):
        read_table(path, columns=[], made_by="cohort")
    path.write_bytes(b"PAR1 cut")
    with pytest.raises(TableError, match="must be a parquet table"):
        read_table(path, columns=[], made_by="cohort")
    write_table(path, pd.DataFrame({"a": [1]}))
    with pytest.raises(TableError, match="none named b"):
        read_table(path, columns=["a", "b"], made_by="cohort")
    write_table(path, pd.DataFrame({"a": []}))
    with pytest.raises(TableError, match="must not be empty"):
        read_table(path, columns=["a"], made_by="cohort")
