import argparse
import importlib

import pytest

from biomedjourney_monai import errors
from biomedjourney_monai.cli import demo
from biomedjourney_monai.cli.main import VERBS, main


def arguments_for(work, bundle):
    parser = argparse.ArgumentParser()
    demo.configure(parser)
    return parser.parse_args(["--work", str(work), "--bundle", str(bundle)])


def test_every_stage_is_a_command_line_that_its_verb_takes(tmp_path, bundle):
    work = tmp_path / "a folder with spaces"
    lines = demo.stages(arguments_for(work, bundle))
    assert [line[0] for line in lines] == [
        *("phantom", "cohort", "journeys", "register", "describe", "encode", "train", "sample", "evaluate", "report")
    ]
    for verb, *rest in lines:
        assert verb in VERBS
        parser = argparse.ArgumentParser(exit_on_error=False)
        importlib.import_module(f"biomedjourney_monai.cli.{verb}").configure(parser)
        parsed = parser.parse_args(rest)
        assert str(work) in str(parsed.out if verb == "phantom" else parsed.work)


@pytest.fixture
def run_demo(monkeypatch, tmp_path, bundle):
    """Run the demo with stages that only return their status."""

    def run(*statuses, more=()):
        ran = []
        lines = [["stage", str(number)] for number, _ in enumerate(statuses)]
        monkeypatch.setattr(demo, "stages", lambda arguments: lines)

        def run_stage(line):
            ran.append(int(line[1]))
            return statuses[ran[-1]]

        monkeypatch.setattr(demo.command, "main", run_stage)
        return main(["demo", "--work", str(tmp_path / "demo"), "--bundle", str(bundle), *more]), ran

    return run


def test_the_demo_ends_with_the_reports_place(run_demo, tmp_path, capsys):
    assert run_demo(0, 0, 0) == (0, [0, 1, 2])
    shown = capsys.readouterr().out
    assert shown.rstrip().endswith(str(tmp_path / "demo" / "report" / "index.html"))
    assert "── biomedjourney stage 1 ──" in shown


def test_the_demo_stops_at_the_first_stage_that_fails(run_demo, capsys):
    assert run_demo(0, 2, 0) == (2, [0, 1])
    assert "The report" not in capsys.readouterr().out


def test_a_second_demo_starts_in_an_empty_folder(run_demo, tmp_path):
    run_demo(0)
    (tmp_path / "demo" / "old.txt").touch()
    run_demo(0)
    assert not (tmp_path / "demo" / "old.txt").exists()


def test_the_demo_does_not_touch_a_folder_of_ones_own(run_demo, tmp_path, capsys):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").touch()
    assert run_demo(0) == (2, [])
    assert "Choose another --work" in capsys.readouterr().err
    assert (tmp_path / "demo" / "thesis.txt").exists()


def test_training_without_a_step_is_refused_before_anything_is_made(run_demo, tmp_path):
    assert run_demo(0, more=("--training-steps", "0")) == (2, [])
    assert not (tmp_path / "demo").exists()


def test_a_demo_without_its_packages_makes_no_folder(run_demo, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(errors.importlib.util, "find_spec", lambda name: None)
    assert run_demo(0) == (2, [])
    assert "biomedjourney_monai[train]" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
