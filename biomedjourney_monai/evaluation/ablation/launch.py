"""Run the commands of an ablation as processes, one ablation at a time in a folder."""

import fcntl
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.files import make_folder

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
