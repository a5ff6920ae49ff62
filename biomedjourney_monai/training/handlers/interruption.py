"""What happens when a training is told to stop: it saves, says so, and ends."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from typing import Any

from ignite.engine import Engine, Events

from biomedjourney_monai.training.handlers.failures import call_on_failure
from biomedjourney_monai.training.processes import any_process

logger = logging.getLogger(__name__)


class SaveOnSignal:
    """On SIGTERM, end after the running iteration: save a checkpoint, export nothing, and leave with status 143.

    A batch system that sends SIGTERM before it kills therefore loses one iteration at most, and the same command goes
    on. Any process of several may be told; all stop together.

    Args:
        save: called with the trainer, e.g. `StageCheckpoint.save`.
    """

    def __init__(self, save: Callable[[Engine], Any]) -> None:
        self.save = save
        self.asked = False
        self._before: Any = None

    def attach(self, engine: Engine) -> None:
        """Listen while the trainer runs."""
        engine.add_event_handler(Events.STARTED, self._listen)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._stop_if_asked)
        engine.add_event_handler(Events.COMPLETED, self._listen_no_more)
        engine.add_event_handler(Events.TERMINATE, self._listen_no_more)
        call_on_failure(engine, self._listen_no_more)

    def _listen(self, engine: Engine) -> None:
        self.asked = False
        self._before = signal.signal(signal.SIGTERM, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self.asked = True

    def _stop_if_asked(self, engine: Engine) -> None:
        if any_process(self.asked):
            self.asked = True
            self.save(engine)
            engine.terminate(skip_completed=True)

    def _listen_no_more(self, engine: Engine) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None


def leave_if_stopped(trainer: Engine) -> None:
    """End the process after a training that was told to stop, so that no later stage begins.

    Raises:
        SystemExit: with status 143, which is what SIGTERM gives.
    """
    if trainer.should_terminate == "skip_completed":
        logger.info(f"Stopped at iteration {trainer.state.iteration} and saved. The same command goes on from here.")
        sys.exit(128 + signal.SIGTERM)
