"""Steps of an ablation: processes that run once, and again when something that they depend on changes."""

import fcntl
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
from types import FrameType
from typing import Any

from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.files import file_hash, make_folder, write_json

LOCK = ".lock"
STOPPED = (130, 143, -signal.SIGINT, -signal.SIGTERM)
"""Exit statuses of a command that was told to stop."""

Launch = Callable[[Sequence[str], Path], int]
"""Run a command, its output into the given file; returns the exit status."""


class AblationStoppedError(BiomedJourneyError):
    """The ablation was told to stop."""

    def __init__(self) -> None:
        super().__init__("the ablation was stopped", action="Run the same command again to continue")


@contextmanager
def launcher(folder: Path) -> Iterator[Launch]:
    """Give a `Launch` that runs commands as processes; only one ablation at a time may work in the folder.

    The commands inherit the lock: while an orphaned command writes, a new start is refused with a BiomedJourneyError.
    """
    make_folder(folder)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BiomedJourneyError(
                "one ablation at a time may work in a folder",
                found="another one running",
                action="Wait for it, or stop it",
            ) from error

        def launch(command: Sequence[str], log: Path) -> int:
            make_folder(log.parent)
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


def _stop(number: int, frame: FrameType | None) -> None:
    raise AblationStoppedError


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a running command, with time to save a checkpoint."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


STATES = "steps"
LOGS = "logs"
FOLDER = "ABLATION"
"""Stands for the ablation's folder in fingerprints and states, so that the folder can be moved."""


@dataclass(frozen=True)
class Step:
    """One command of an ablation.

    Attributes:
        name: unique in the ablation; also names its log and its state.
        kind: steps of one kind take about the same time, for the estimate of the remaining time.
        command: the words of the command line.
        makes: files and folders that are deleted before the step runs again with other settings.
        needs: names of the steps whose outputs it reads.
        reads: files and folders outside the ablation that its result depends on.
        links: path in the ablation -> path in the ablation that it links to; made before the command starts.
        share: amount of its kind's work, for the estimate.
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
    """The outcome of a step.

    Attributes:
        status: "done", "already done", "failed" or "left out".
        seconds: of all its runs together.
        reason: why it has no result.
    """

    status: str
    seconds: float = 0.0
    reason: str = ""

    @property
    def good(self) -> bool:
        """Whether the step has a result."""
        return self.status in ("done", "already done")


def run_steps(
    steps: Sequence[Step], folder: Path, *, launch: Launch, say: Callable[[str], None] = print
) -> dict[str, Outcome]:
    """Run the steps that are not done, in order. Only steps that need a failed step are left out.

    `steps` are in the order of their needs. `say` is called with a line for each step and the estimated remaining time.

    Returns:
        Step name -> outcome.

    Raises:
        AblationStoppedError: if a command ended as after Ctrl-C or SIGTERM.
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
        if _is_done(folder, step, marks):
            outcomes[step.name] = Outcome("already done", seconds=float(state.get("seconds", 0)))
            continue
        ahead = [other for other in steps[place:] if not _is_done(folder, other, marks)]
        left = estimate_seconds(ahead, [other for other in steps if _is_done(folder, other, marks)], folder)
        say(f"[{place + 1}/{len(steps)}] {step.name} ({describe_time(left)})")
        outcomes[step.name] = _run(step, folder, marks[step.name], state, launch)
        if not outcomes[step.name].good:
            say(f"    failed: {outcomes[step.name].reason}; log: {log_file(folder, step.name)}")
    return outcomes


def fingerprints(steps: Sequence[Step], folder: Path) -> dict[str, str]:
    """Step name -> hash of its command, of what it reads from outside and of the steps that it needs."""
    marks: dict[str, str] = {}
    hashed: dict[Path, str] = {}
    for step in steps:
        for path in step.reads:
            hashed.setdefault(path, content_hash(path))
        content = [_portable(step, folder), [hashed[path] for path in step.reads], [marks[name] for name in step.needs]]
        marks[step.name] = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return marks


def _portable(step: Step, folder: Path) -> list[str]:
    """The command without the ablation's folder, and without the path of Python."""
    return [str(word).replace(str(folder), FOLDER) for word in step.command[1:]]


def content_hash(path: Path) -> str:
    """Hash a file's bytes, or names and bytes of a folder's files; a missing one has its own hash."""
    if path.is_dir():
        names = sorted(file for file in path.rglob("*") if file.is_file())
        listed = [[file.relative_to(path).as_posix(), file_hash(file)] for file in names]
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()
    return file_hash(path) if path.is_file() else "absent"


def done_steps(steps: Sequence[Step], folder: Path) -> list[Step]:
    """The steps that are done with the present settings."""
    marks = fingerprints(steps, folder)
    return [step for step in steps if _is_done(folder, step, marks)]


def forget(steps: Sequence[Step], folder: Path) -> None:
    """Mark the steps as not done."""
    for step in steps:
        (folder / STATES / f"{step.name}.json").unlink(missing_ok=True)


def read_state(folder: Path, name: str) -> dict[str, Any]:
    """A step's state after earlier runs; {} if there is none."""
    try:
        state = json.loads((folder / STATES / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def log_file(folder: Path, name: str) -> Path:
    """The log of a step."""
    return folder / LOGS / f"{name}.log"


def estimate_seconds(ahead: Sequence[Step], done: Sequence[Step], folder: Path) -> float | None:
    """Estimate how long the steps ahead take, from steps of their kinds that are done; None if there is a new kind."""
    speeds: dict[str, list[float]] = {}
    for step in done:
        speeds.setdefault(step.kind, []).append(float(read_state(folder, step.name).get("seconds", 0)) / step.share)
    if any(step.kind not in speeds for step in ahead):
        return None
    return sum(step.share * sum(speeds[step.kind]) / len(speeds[step.kind]) for step in ahead)


def describe_time(seconds: float | None) -> str:
    """The remaining time in words."""
    if seconds is None:
        return "time left not known yet"
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute left"
    return f"about {minutes} min left" if minutes < 90 else f"about {minutes / 60:.1f} h left"


def last_error(log: Path) -> str:
    """The last line of a log that reports an error, else the last line; "" if there is none."""
    try:
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return ""
    lines = [line for line in lines if line]
    return next((line for line in reversed(lines) if line.startswith("error:")), lines[-1] if lines else "")[:300]


def _run(step: Step, folder: Path, mark: str, state: Mapping[str, Any], launch: Launch) -> Outcome:
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
        raise AblationStoppedError
    if status:
        said = last_error(log_file(folder, step.name))
        return Outcome("failed", seconds, f"exit status {status}" + (f": {said}" if said else ""))
    missing = [path.name for path in step.makes if not path.exists()]
    if missing:
        _write_state(folder, step, mark, finished=False, seconds=seconds)
        return Outcome("failed", seconds, f"made no {', '.join(missing)}")
    return Outcome("done", seconds)


def _write_state(folder: Path, step: Step, mark: str, *, finished: bool, seconds: float) -> None:
    content = {"fingerprint": mark, "finished": finished, "seconds": round(seconds, 2)}
    content["command"] = _portable(step, folder)
    write_json(folder / STATES / f"{step.name}.json", content)


def _is_done(folder: Path, step: Step, marks: Mapping[str, str]) -> bool:
    state = read_state(folder, step.name)
    finished = state.get("fingerprint") == marks[step.name] and state.get("finished")
    return bool(finished) and all(path.exists() for path in step.makes)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)


def _link(place: Path, target: Path) -> None:
    """Link `place` to `target`, by a relative path so that the folder can be moved."""
    make_folder(place.parent)
    _remove(place)
    place.symlink_to(os.path.relpath(target, place.parent))
