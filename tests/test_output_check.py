import os

import pytest

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


def test_an_output_outside_the_folder_is_refused(tmp_path):
    inside, outside = tmp_path / "lists", tmp_path / "elsewhere"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    refuse_outside(inside / "o" / "a.png", inside)
    for out in (outside / "a.png", inside / ".." / "a.png", inside / "link" / "a.png"):
        with pytest.raises(OutputError, match="--anywhere"):
            refuse_outside(out, inside)
