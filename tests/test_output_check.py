import os

import pytest

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.output_check import OutputError, refuse_inputs, refuse_outside, refuse_unwritable


@pytest.mark.parametrize("link", [os.link, os.symlink, None])
def test_an_output_that_is_an_input_under_any_name_is_refused(tmp_path, link):
    prior, out = tmp_path / "prior.png", tmp_path / "sub" / ".." / ("prior.png" if link is None else "out.png")
    (tmp_path / "sub").mkdir()
    prior.write_bytes(b"pixels")
    if link is not None:
        link(prior, out)
    with pytest.raises(OutputError, match="found the prior") as error:
        refuse_inputs([tmp_path / "new.png", out], {"the mask": None, "the prior": prior})
    assert error.value.reason == "out is the prior"
    refuse_inputs([tmp_path / "new.png"], {"the mask": None, "the prior": prior})


def test_an_output_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    refuse_unwritable(tmp_path / "new" / "folder" / "out.png")
    refuse_unwritable(tmp_path / "file")
    refuse_unwritable(tmp_path, folder=True)
    with pytest.raises(OutputError, match="a folder of that name"):
        refuse_unwritable(tmp_path)
    with pytest.raises(OutputError, match="a file in place of a folder"):
        refuse_unwritable(tmp_path / "file" / "out.png")
    with pytest.raises(OutputError, match="a file in place of a folder"):
        refuse_unwritable(tmp_path / "file", folder=True)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # tests may run as root
    with pytest.raises(OutputError, match="without permission to write"):
        refuse_unwritable(tmp_path / "out.png")


@pytest.mark.parametrize(
    ("words", "blocked"),
    [
        (["evaluate"], "scores.parquet"),
        (["evaluate"], "metrics.json"),
        (["report"], "metrics.csv"),
        (["report"], "report/index.html"),
        (["report", "--picture", "{work}/journeys.png"], "journeys.png"),
        (["tune"], "tune/tune.json"),
        (["tune"], "tune/tune.png"),
        (["train"], "runs"),
    ],
)
def test_a_stage_whose_result_cannot_be_written_reads_and_loads_nothing(tmp_path, capsys, words, blocked):
    """The working folder is empty: whatever is read first would be missed."""
    path = tmp_path / blocked
    path.parent.mkdir(exist_ok=True)
    path.touch() if words == ["train"] else path.mkdir()
    line = [word.format(work=tmp_path) for word in words]
    assert main([line[0], "--work", str(tmp_path), *line[1:]]) == 2
    assert "that can be written; found a" in capsys.readouterr().err


def test_an_output_outside_the_folder_is_refused(tmp_path):
    inside, outside = tmp_path / "lists", tmp_path / "elsewhere"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    refuse_outside(inside / "o" / "a.png", inside)
    for out in (outside / "a.png", inside / ".." / "a.png", inside / "link" / "a.png"):
        with pytest.raises(OutputError, match="--anywhere"):
            refuse_outside(out, inside)
