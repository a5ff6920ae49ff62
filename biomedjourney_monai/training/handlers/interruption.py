"""Stop a training on SIGTERM: save a checkpoint and exit; and call what must be called when a training fails."""

import logging
import signal
import sys
from collections.abc import Callable
from typing import Any

from ignite.engine import Engine, Events

from biomedjourney_monai.training.processes import any_process

CALLS = "_calls_on_failure"


def call_on_failure(engine: Engine, call: Callable[[Engine], Any]) -> None:
    """Call a function when the run raises an error, which is raised afterwards.

    Ignite passes an error to the handlers of EXCEPTION_RAISED instead of raising it, and a handler that raises prevents
    the next; so there is one handler for all calls.
    """
    if not hasattr(engine, CALLS):
        setattr(engine, CALLS, [])
        engine.add_event_handler(Events.EXCEPTION_RAISED, _call_all)
    getattr(engine, CALLS).append(call)


def _call_all(engine: Engine, error: BaseException) -> None:
    try:
        for call in getattr(engine, CALLS):
            call(engine)
    finally:
        raise error


logger = logging.getLogger(__name__)


class SaveOnSignal:
    """On SIGTERM, end after the current iteration: save a checkpoint, write no model file, and exit with status 143.

    With a batch system that sends SIGTERM before it kills, at most one iteration is lost, and the same command
    continues. If one of several processes receives the signal, all stop.

    Args:
        save: called with the trainer, e.g. `StageCheckpoint.save`.
    """

    def __init__(self, save: Callable[[Engine], Any]) -> None:
        self.save = save
        self.asked = False
        self._before: Any = None  # the handler to restore

    def attach(self, engine: Engine) -> None:
        """Handle the signal while the trainer runs."""
        engine.add_event_handler(Events.STARTED, self._listen)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._stop_if_asked)
        engine.add_event_handler(Events.COMPLETED, self._restore)
        engine.add_event_handler(Events.TERMINATE, self._restore)
        call_on_failure(engine, self._restore)

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

    def _restore(self, engine: Engine) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None


def leave_if_stopped(trainer: Engine) -> None:
    """End the process after a training that SIGTERM stopped, so that no later stage begins.

    Raises:
        SystemExit: with status 143, as after SIGTERM.
    """
    if trainer.should_terminate == "skip_completed":
        logger.info(f"Stopped at iteration {trainer.state.iteration} and saved. The same command continues from here.")
        sys.exit(128 + signal.SIGTERM)
