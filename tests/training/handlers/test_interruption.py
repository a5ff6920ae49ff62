import os
import signal

import pytest
from ignite.engine import Events

from biomedjourney_monai.training.handlers.interruption import leave_if_stopped


def ask_to_stop(engine):
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_saves_and_a_resumed_training_ends_as_if_nothing_had_happened(make_training, tmp_path):
    whole = make_training(tmp_path / "whole", max_epochs=3).run()
    stopped = make_training(tmp_path / "parts", max_epochs=3)
    stopped.trainer.add_event_handler(Events.ITERATION_STARTED(once=3), ask_to_stop)
    stopped.run()
    assert len(stopped.losses) == 3  # the running iteration ends
    assert stopped.exported == []
    with pytest.raises(SystemExit) as left:
        leave_if_stopped(stopped.trainer)
    assert left.value.code == 143
    resumed = make_training(tmp_path / "parts", max_epochs=3).run()
    assert stopped.losses + resumed.losses == whole.losses
    assert len(resumed.exported) == 1


def test_a_finished_training_goes_on_and_gives_the_signal_back(make_training, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    training = make_training(tmp_path, max_epochs=1).run()
    leave_if_stopped(training.trainer)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_broken_training_gives_the_signal_back(make_training, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    training = make_training(tmp_path, max_epochs=1)
    training.trainer.add_event_handler(Events.ITERATION_STARTED, lambda engine: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        training.run()
    assert signal.getsignal(signal.SIGTERM) is before
