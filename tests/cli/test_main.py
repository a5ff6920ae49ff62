import argparse
import importlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from biomedjourney_monai import __version__
from biomedjourney_monai.cli import main as command_line
from biomedjourney_monai.cli.main import VERBS, main
from biomedjourney_monai.errors import ConfigError


def module_of(verb):
    return importlib.import_module(f"biomedjourney_monai.cli.{verb.replace('-', '_')}")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb, capsys):
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert f"usage: biomedjourney {verb}" in shown
    assert f"example:\n  biomedjourney {verb}" in shown
    assert module_of(verb).__doc__.splitlines()[0] in shown


@pytest.mark.parametrize("verb", VERBS)
def test_every_example_is_a_command_line_that_the_verb_takes(verb):
    for line in module_of(verb).EXAMPLE.splitlines():
        command, named, *arguments = shlex.split(line)
        assert (command, named) == ("biomedjourney", verb)
        parser = argparse.ArgumentParser(exit_on_error=False)
        module_of(verb).configure(parser)
        parser.parse_args(arguments)


def test_the_list_of_verbs_is_shown(capsys):
    for arguments in ([], ["--help"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
        shown = capsys.readouterr().out
        assert all(verb in shown for verb in VERBS)


def test_the_version_is_shown(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"biomedjourney {__version__}\n"


@pytest.mark.parametrize("arguments", [["smaple"], ["os.path"], ["sample", "--unknown"], ["report", "--work"]])
def test_what_no_parser_knows_exits_with_two(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.fixture
def run_ends_with(monkeypatch):
    """Make the verb `report` end with an error."""

    def install(error):
        def run(arguments):
            raise error

        module = SimpleNamespace(EXAMPLE="x", configure=lambda parser: None, run=run, __doc__="A verb.")
        monkeypatch.setattr(command_line.importlib, "import_module", lambda name: module)

    return install


def test_a_mistake_of_the_users_is_one_line(run_ends_with, capsys):
    run_ends_with(ConfigError("--size must be > 0", found="-1", action="Pass --size 128"))
    assert main(["report"]) == 2
    assert capsys.readouterr().err == "error: --size must be > 0; found -1. Pass --size 128.\n"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FileNotFoundError(2, "No such file or directory", "/data/Smith^John.dcm"), "No such file or directory"),
        (PermissionError(13, "Permission denied", "/data/Smith^John.dcm"), "Permission denied"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("cannot identify image file '/data/Smith^John.dcm'"), "OSError"),
    ],
)
def test_an_error_of_the_system_is_one_line_without_a_files_name(run_ends_with, capsys, error, reason):
    run_ends_with(error)
    assert main(["report"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {reason}. ")
    assert shown.count("\n") == 1
    assert "Smith" not in shown


def test_an_interrupt_says_how_to_continue(run_ends_with, capsys):
    run_ends_with(KeyboardInterrupt())
    assert main(["report"]) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_a_missing_extra_is_one_line(run_ends_with, capsys):
    run_ends_with(ModuleNotFoundError("No module named 'mlflow.entities'", name="mlflow.entities"))
    assert main(["report"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: mlflow must be installed")
    assert 'pip install "biomedjourney_monai[train]"' in shown
    assert shown.count("\n") == 1


def test_a_module_that_no_extra_installs_is_a_bug_of_ours(run_ends_with):
    run_ends_with(ModuleNotFoundError("No module named 'biomedjourney_monai.x'", name="biomedjourney_monai.x"))
    with pytest.raises(ModuleNotFoundError):
        main(["report"])


def test_a_bug_of_ours_is_not_hidden(run_ends_with):
    run_ends_with(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["report"])


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (3, 3)])
def test_the_verbs_status_is_the_commands(monkeypatch, returned, status):
    module = SimpleNamespace(EXAMPLE="x", configure=lambda parser: None, run=lambda _: returned, __doc__="A verb.")
    monkeypatch.setattr(command_line.importlib, "import_module", lambda name: module)
    assert main(["report"]) == status


CLEAR = "FINDINGS: Lungs are clear.\n\nIMPRESSION: No acute cardiopulmonary process.\n"
COMMAND = [sys.executable, "-m", "biomedjourney_monai"]


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["--help"], ["report", "--help"], ["describe"]])
def test_a_closed_pipe_ends_quietly(tmp_path, arguments, unbuffered):
    if arguments == ["describe"]:
        (tmp_path / "clear.txt").write_text(CLEAR)
        arguments = [
            "describe",
            "--prior-report",
            str(tmp_path / "clear.txt"),
            "--new-report",
            str(tmp_path / "clear.txt"),
        ]
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    ended = subprocess.run([*COMMAND, *arguments], stdout=writer, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(writer)
    assert ended.returncode in (
        (0, 141) if "--help" in arguments else (141,)
    )  # argparse hides an error while it prints
    assert ended.stderr == b""


def test_a_pipe_that_breaks_between_processes_is_an_error(run_ends_with, capfd):
    run_ends_with(BrokenPipeError(32, "Broken pipe"))
    assert main(["report"]) == 2
    assert capfd.readouterr().err.startswith("error: Broken pipe. ")


def test_characters_that_the_terminal_cannot_show_are_replaced(tmp_path):
    (tmp_path / "clear.txt").write_text(CLEAR)
    (tmp_path / "spanish.txt").write_text("IMPRESSION: Pequeño left pleural effusion.\n")
    reports = ["--prior-report", str(tmp_path / "clear.txt"), "--new-report", str(tmp_path / "spanish.txt")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    line = [*COMMAND, "describe", "--text", "impression", *reports]
    ended = subprocess.run(line, capture_output=True, env=environment, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"Peque?o" in ended.stdout


def test_a_full_disk_under_the_output_is_one_line():
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run([*COMMAND, "bundle-path"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith(b"error: No space left on device. ") and ended.stderr.count(b"\n") == 1


def test_an_interrupt_while_a_verb_is_imported_is_one_line(monkeypatch, capsys):
    def interrupt(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line.importlib, "import_module", interrupt)
    assert main(["report"]) == 130
    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture
def planted(bundle, tmp_path, monkeypatch):
    """A working folder with a bundle whose configs write a file when they are read."""
    shutil.copytree(bundle / "configs", tmp_path / "bundle" / "configs")
    (tmp_path / "bundle" / "models").symlink_to(bundle / "models")
    common = tmp_path / "bundle" / "configs" / "common.yaml"
    text = common.read_text()
    planted = "\"$[open('ran', 'w').close(), @bundle_root][1]"
    changed = text.replace('"$@bundle_root', planted)
    assert changed != text
    common.write_text(changed)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "ran"


REQUEST = ["--description", "New large left pleural effusion.", "--steps", "1", "--out", "a.png"]


@pytest.mark.parametrize("folder", [".", "bundle"])
def test_a_bundle_in_the_working_folder_is_not_run_unless_it_is_named(planted, chest, monkeypatch, capsys, folder):
    monkeypatch.chdir(planted.parent / folder)
    assert main(["sample", "--prior", str(chest), *REQUEST]) == 0
    assert "is a bundle: not used; pass --bundle to run its code" in capsys.readouterr().err
    assert not list(planted.parent.rglob("ran"))


def test_a_named_bundle_is_run_and_the_command_says_so(planted, chest, capsys):
    assert main(["sample", "--prior", str(chest), *REQUEST, "--bundle", "bundle"]) == 0
    assert "note: bundle is a bundle: this command runs the code in its configs" in capsys.readouterr().err
    assert planted.exists()
