"""Steps of a study: commands that know what they depend on, are done once, and are done again when that changes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.files import file_hash, write_json

STATES = "steps"
LOGS = "logs"
LOCK = ".lock"
STOPPED = (130, 143, -signal.SIGINT, -signal.SIGTERM)


@dataclass(frozen=True)
class Step:
    """One command of a study.

    Attributes:
        name: unique in the study; also names its log and its state.
        kind: steps of one kind take about the same time, which the estimate of what is left rests on.
        command: the words of the command line.
        makes: files and folders that are deleted before the step is done anew with other settings.
        needs: names of the steps whose outputs it reads.
        reads: files and folders from outside the study that decide its result.
        links: path in the study -> path in the study that it shall point to, laid before the command starts.
        share: how much of its kind's work it does, for the estimate.
    """

    name: str
    kind: str
    command: Sequence[str]
    makes: Sequence[Path] = ()
    needs: Sequence[str] = ()
    reads: Sequence[Path] = ()
    links: Mapping[Path, Path] = field(default_factory=dict)
    share: float = 1.0


@dataclass
class Outcome:
    """How a step went.

    Attributes:
        status: "done", "already done", "failed" or "left out".
        seconds: that it took, in all runs together.
        reason: why it has no result.
    """

    status: str
    seconds: float = 0.0
    reason: str = ""

    @property
    def good(self) -> bool:
        return self.status in ("done", "already done")


Launch = Callable[[Sequence[str], Path], int]
"""Run a command, its output into the given file; returns the exit status."""


class StudyStoppedError(BiomedJourneyError):
    """The study was told to stop."""


def run_steps(
    steps: Sequence[Step], folder: Path, *, launch: Launch, say: Callable[[str], None] = print
) -> dict[str, Outcome]:
    """Do what is not done yet, in order. A step that fails costs only those that need it.

    Args:
        steps: each after those that it needs.
        folder: the study's folder; the states and logs of the steps go there.
        launch: runs a command.
        say: is told of each step, with an estimate of the time that is left.

    Returns:
        Step name -> outcome.

    Raises:
        StudyStoppedError: if a command ended as after Ctrl-C or SIGTERM.
    """
    marks = fingerprints(steps, folder)
    outcomes: dict[str, Outcome] = {}
    for place, step in enumerate(steps):
        missing = next((name for name in step.needs if not outcomes[name].good), None)
        if missing is not None:
            blamed = outcomes[missing].reason if outcomes[missing].status == "left out" else f"{missing} failed"
            outcomes[step.name] = Outcome("left out", reason=blamed)
            continue
        state = read_state(folder, step.name)
        if state.get("fingerprint") == marks[step.name] and state.get("finished") and _exist(step.makes):
            outcomes[step.name] = Outcome("already done", seconds=float(state.get("seconds", 0)))
            continue
        ahead = [other for other in steps[place:] if not _is_done(folder, other, marks)]
        left = estimate_seconds(ahead, [other for other in steps if _is_done(folder, other, marks)], folder)
        say(f"[{place + 1}/{len(steps)}] {step.name} ({describe_time(left)})")
        outcomes[step.name] = _do(step, folder, marks[step.name], state, launch)
        if not outcomes[step.name].good:
            say(f"    failed: {outcomes[step.name].reason}; log: {log_file(folder, step.name)}")
    return outcomes


def fingerprints(steps: Sequence[Step], folder: Path) -> dict[str, str]:
    """Step name -> hash of its command, of what it reads from outside and of the steps that it needs.

    The study's own folder is left out of it, so that a study can be moved.
    """
    marks: dict[str, str] = {}
    hashed: dict[Path, str] = {}
    for step in steps:
        for path in step.reads:
            hashed.setdefault(path, content_hash(path))
        words = [str(word).replace(str(folder), "STUDY") for word in step.command[1:]]  # [0] is Python's own place
        content = [words, [hashed[path] for path in step.reads], [marks[name] for name in step.needs]]
        marks[step.name] = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return marks


def content_hash(path: Path) -> str:
    """Hash a file's bytes, or names and bytes of a folder's files; an absent one has a hash of its own."""
    if path.is_dir():
        names = sorted(file for file in path.rglob("*") if file.is_file())
        listed = [[file.relative_to(path).as_posix(), file_hash(file)] for file in names]
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()
    return file_hash(path) if path.is_file() else "absent"


def done_steps(steps: Sequence[Step], folder: Path) -> list[Step]:
    """Those that are done, with the settings as they are now."""
    marks = fingerprints(steps, folder)
    return [step for step in steps if _is_done(folder, step, marks)]


def forget(steps: Sequence[Step], folder: Path) -> None:
    """Let the steps be done anew."""
    for step in steps:
        (folder / STATES / f"{step.name}.json").unlink(missing_ok=True)


def read_state(folder: Path, name: str) -> dict[str, Any]:
    """What is known of a step from earlier runs; {} if nothing."""
    try:
        state = json.loads((folder / STATES / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def log_file(folder: Path, name: str) -> Path:
    """Where a step's output is."""
    return folder / LOGS / f"{name}.log"


def estimate_seconds(ahead: Sequence[Step], done: Sequence[Step], folder: Path) -> float | None:
    """Guess how long the steps ahead take, from those of their kind that are done; None before there is one of each."""
    speeds: dict[str, list[float]] = {}
    for step in done:
        speeds.setdefault(step.kind, []).append(float(read_state(folder, step.name).get("seconds", 0)) / step.share)
    if any(step.kind not in speeds for step in ahead):
        return None
    return sum(step.share * sum(speeds[step.kind]) / len(speeds[step.kind]) for step in ahead)


def describe_time(seconds: float | None) -> str:
    """Say how much time is left."""
    if seconds is None:
        return "time left not known yet"
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute left"
    return f"about {minutes} min left" if minutes < 90 else f"about {minutes / 60:.1f} h left"


@contextmanager
def launcher(folder: Path) -> Iterator[Launch]:
    """Give a `Launch` that runs commands as processes; only one study at a time may work in the folder.

    The lock is inherited by the commands: after a kill of the study alone, a new start waits for nobody but refuses
    while the orphan still writes.

    Raises:
        BiomedJourneyError: if another run is at work in the folder.
    """
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BiomedJourneyError(
                "one study at a time may work in a folder", found="another at work", action="Wait for it, or stop it"
            ) from error

        def launch(command: Sequence[str], log: Path) -> int:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("w", encoding="utf-8") as stream:
                process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, pass_fds=[lock.fileno()])
                try:
                    return process.wait()
                finally:
                    _end(process)

        before = signal.signal(signal.SIGTERM, _stop)
        try:
            yield launch
        finally:
            signal.signal(signal.SIGTERM, before)


def last_error(log: Path) -> str:
    """The last line of a log that reports an error, else the last line; "" if there is none."""
    try:
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return ""
    lines = [line for line in lines if line]
    return next((line for line in reversed(lines) if line.startswith("error:")), lines[-1] if lines else "")[:300]


def _do(step: Step, folder: Path, mark: str, state: Mapping[str, Any], launch: Launch) -> Outcome:
    if state.get("fingerprint") != mark:
        for path in step.makes:
            _remove(path)
    spent = float(state.get("seconds", 0)) if state.get("fingerprint") == mark else 0.0
    _write_state(folder, step, mark, finished=False, seconds=spent)
    for place, target in step.links.items():
        _link(place, target)
    started, status = time.monotonic(), STOPPED[0]
    try:
        status = launch([str(word) for word in step.command], log_file(folder, step.name))
    finally:
        seconds = spent + time.monotonic() - started
        _write_state(folder, step, mark, finished=status == 0, seconds=seconds)
    if status in STOPPED:
        raise StudyStoppedError("the study was stopped", action="Run the same command again to go on")
    if status:
        said = last_error(log_file(folder, step.name))
        return Outcome("failed", seconds, f"exit status {status}" + (f": {said}" if said else ""))
    missing = [path.name for path in step.makes if not path.exists()]
    if missing:
        _write_state(folder, step, mark, finished=False, seconds=seconds)
        return Outcome("failed", seconds, f"made no {', '.join(missing)}")
    return Outcome("done", seconds)


def _write_state(folder: Path, step: Step, mark: str, *, finished: bool, seconds: float) -> None:
    command = [str(word).replace(str(folder), "STUDY") for word in step.command[1:]]
    content = {"fingerprint": mark, "finished": finished, "seconds": round(seconds, 2), "command": command}
    write_json(folder / STATES / f"{step.name}.json", content)


def _is_done(folder: Path, step: Step, marks: Mapping[str, str]) -> bool:
    state = read_state(folder, step.name)
    return state.get("fingerprint") == marks[step.name] and bool(state.get("finished")) and _exist(step.makes)


def _exist(paths: Sequence[Path]) -> bool:
    return all(path.exists() for path in paths)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)


def _link(place: Path, target: Path) -> None:
    """Let `place` point to `target`, by a relative path so that the study can be moved."""
    place.parent.mkdir(parents=True, exist_ok=True)
    _remove(place)
    place.symlink_to(os.path.relpath(target, place.parent))


def _stop(number: int, frame: Any) -> None:
    raise StudyStoppedError("the study was stopped", action="Run the same command again to go on")


def _end(process: subprocess.Popen) -> None:
    """Stop a command that still runs: it may save a checkpoint first."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
