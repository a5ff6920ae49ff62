"""Orchestration alone: commands are a list of what was asked for, and a launcher that only writes files."""

import os
import subprocess
import sys
import time

import pytest

from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.evaluation.ablation.steps import (
    AblationStoppedError,
    Step,
    describe_time,
    estimate_seconds,
    fingerprints,
    last_error,
    launcher,
    read_state,
    run_steps,
)


class Runs:
    """Stands in for the launcher: makes what a step makes, or fails."""

    def __init__(self, steps):
        self.steps = {tuple(step.command): step for step in steps}
        self.ran, self.statuses, self.idle = [], {}, set()

    def __call__(self, command, log):
        step = self.steps[tuple(command)]
        self.ran.append(step.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("started\nerror: the weights must fit; found others.\ngoodbye\n")
        if step.name not in self.idle:
            for path in step.makes:
                path.write_text("made")
        return self.statuses.get(step.name, 0)


@pytest.fixture
def steps(tmp_path):
    """cohort -> train-a -> test-a, and cohort -> train-b -> test-b."""

    def make(*, rate_of_b="1", reads=()):
        def step(name, *, needs=(), words=(), **more):
            return Step(name, name.split("-")[0], ["python", name, *words], [tmp_path / name], needs, **more)

        return [
            step("cohort", reads=reads),
            *(
                step(f"{verb}-{cell}", needs=[need], words=[rate_of_b] if (verb, cell) == ("train", "b") else [])
                for cell in "ab"
                for verb, need in (("train", "cohort"), ("test", f"train-{cell}"))
            ),
        ]

    return make


def _run(steps, folder, **statuses):
    runs = Runs(steps)
    runs.statuses = {name.replace("_", "-"): status for name, status in statuses.items()}
    said = []
    return runs, lambda: run_steps(steps, folder, launch=runs, say=said.append), said


def test_every_step_is_done_once(steps, tmp_path):
    runs, go, said = _run(steps(), tmp_path)
    assert {outcome.status for outcome in go().values()} == {"done"}
    assert runs.ran == ["cohort", "train-a", "test-a", "train-b", "test-b"]
    assert len(said) == 5 and said[0].startswith("[1/5] cohort")
    assert {outcome.status for outcome in go().values()} == {"already done"}
    assert len(runs.ran) == 5


def test_a_failed_step_costs_only_what_needs_it_and_is_named(steps, tmp_path):
    runs, go, said = _run(steps(), tmp_path, train_a=2)
    outcomes = go()
    assert outcomes["train-a"].status == "failed"
    assert outcomes["train-a"].reason == "exit status 2: error: the weights must fit; found others."
    assert (outcomes["test-a"].status, outcomes["test-a"].reason) == ("left out", "train-a failed")
    assert outcomes["test-b"].status == "done"
    assert any("failed" in line and "train-a.log" in line for line in said)
    runs.statuses = {}
    assert all(outcome.good for outcome in go().values())
    assert runs.ran[-2:] == ["train-a", "test-a"]


def test_an_interrupt_ends_the_ablation_and_the_next_run_goes_on(steps, tmp_path):
    runs, go, _ = _run(steps(), tmp_path, train_b=143)
    with pytest.raises(AblationStoppedError, match="same command again"):
        go()
    assert runs.ran == ["cohort", "train-a", "test-a", "train-b"]
    runs.statuses = {}
    go()
    assert runs.ran[4:] == ["train-b", "test-b"]


def test_an_unfinished_step_keeps_its_files_so_that_it_can_resume(steps, tmp_path):
    runs, go, _ = _run(steps(), tmp_path, train_a=1)
    go()
    (tmp_path / "train-a").write_text("a checkpoint")
    runs.statuses, runs.idle = {}, {"train-a"}
    go()
    assert (tmp_path / "train-a").read_text() == "a checkpoint"


def test_a_changed_setting_does_only_what_depends_on_it_anew(steps, tmp_path):
    _run(steps(), tmp_path)[1]()
    changed = steps(rate_of_b="2")
    runs, go, _ = _run(changed, tmp_path)
    runs.idle = {"train-b"}
    outcomes = go()
    assert runs.ran == ["train-b"], "its old file was removed, and none came"
    assert outcomes["train-b"].reason == "made no train-b"
    runs.idle = set()
    go()
    assert runs.ran == ["train-b", "train-b", "test-b"]


def test_a_changed_input_is_noticed_by_its_bytes(steps, tmp_path):
    source = tmp_path / "table.csv"
    source.write_text("1")
    first = fingerprints(steps(reads=[source]), tmp_path)
    source.write_text("1")
    assert fingerprints(steps(reads=[source]), tmp_path) == first
    source.write_text("2")
    second = fingerprints(steps(reads=[source]), tmp_path)
    assert all(first[name] != second[name] for name in first), "everything rests on the cohort"


def test_an_ablation_may_be_moved(tmp_path):
    marks = []
    for folder in (tmp_path / "here", tmp_path / "there"):
        marks.append(fingerprints([Step("one", "one", ["python", "--work", f"{folder}/shared"])], folder))
    assert marks[0] == marks[1]


def test_a_result_that_was_deleted_is_made_again(steps, tmp_path):
    runs, go, _ = _run(steps(), tmp_path)
    go()
    (tmp_path / "test-b").unlink()
    go()
    assert runs.ran[5:] == ["test-b"]


def test_the_time_left_is_known_once_each_kind_was_done(steps, tmp_path):
    todo = steps()
    _, go, said = _run(todo, tmp_path)
    go()
    assert "not known" in said[0] and "not known" not in said[-2]
    per_train = (read_state(tmp_path, "train-a")["seconds"] + read_state(tmp_path, "train-b")["seconds"]) / 2
    ahead = [Step("train-c", "train", [], share=3.0)]
    assert estimate_seconds(ahead, todo, tmp_path) == pytest.approx(3 * per_train)
    assert estimate_seconds([Step("x", "unseen", [])], todo, tmp_path) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "not known"), (20, "less than a minute"), (600, "10 min"), (5400, "1.5 h")],
)
def test_time_is_said_in_fitting_units(seconds, words):
    assert words in describe_time(seconds)


def test_the_last_error_of_a_log_is_found(tmp_path):
    log = tmp_path / "log"
    log.write_text("error: first\nerror: second\nTraceback\n")
    assert last_error(log) == "error: second"
    log.write_text("Killed\n\n")
    assert last_error(log) == "Killed"
    assert last_error(tmp_path / "none") == ""


def test_the_launcher_runs_a_process_and_keeps_its_output(tmp_path):
    with launcher(tmp_path) as launch:
        log = tmp_path / "logs" / "one.log"
        assert launch([sys.executable, "-c", "import sys; print('hello'); sys.exit(3)"], log) == 3
    assert log.read_text() == "hello\n"


def test_two_ablations_in_one_folder_are_refused(tmp_path):
    with launcher(tmp_path), pytest.raises(BiomedJourneyError, match="one ablation at a time"), launcher(tmp_path):
        pass


def test_a_stopped_ablation_stops_its_command(tmp_path):
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from biomedjourney_monai.evaluation.ablation.steps import launcher\n"
        "with launcher(Path(sys.argv[1])) as launch:\n"
        "    launch([sys.executable, '-u', '-c', 'import os, time; print(os.getpid()); time.sleep(100)'],"
        " Path(sys.argv[1]) / 'log')\n"
    )
    ablation = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stderr=subprocess.DEVNULL)
    log, deadline = tmp_path / "log", time.monotonic() + 60
    while time.monotonic() < deadline and not (log.is_file() and log.read_text().endswith("\n")):
        time.sleep(0.1)
    child = int(log.read_text())
    ablation.terminate()
    assert ablation.wait(timeout=60) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
