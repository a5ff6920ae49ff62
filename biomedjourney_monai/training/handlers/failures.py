"""Calls that are made when a training fails."""

from collections.abc import Callable
from typing import Any

from ignite.engine import Engine, Events

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
