import re

import pytest
import torch
from ignite.engine import Engine
from monai.engines import IterationEvents

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.training.handlers.gradients import ClipGradients, steps_now


def run(loss, *, max_norm=1.0, gradient=(3.0, 4.0)):
    parameter = torch.nn.Parameter(torch.zeros(2))

    def step(engine, batch):
        parameter.grad = torch.tensor(gradient)
        engine.state.output = {"loss": torch.tensor(loss)}
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        return engine.state.output

    engine = Engine(step)
    engine.register_events(*IterationEvents)
    ClipGradients([parameter], max_norm).attach(engine)
    engine.run([0], max_epochs=1)
    return parameter.grad


def test_large_gradients_are_cut_to_the_norm():
    assert run(0.5).tolist() == pytest.approx([0.6, 0.8], rel=1e-4)


def test_small_gradients_stay():
    assert run(0.5, max_norm=10.0).tolist() == [3.0, 4.0]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_in_one_line(loss):
    with pytest.raises(ConfigError, match=f"found {loss} at iteration 1") as error:
        run(loss)
    assert "\n" not in str(error.value)
    assert "--learning_rate" in str(error.value)


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_reaches_a_checkpoint():
    with pytest.raises(ConfigError, match="norm of the gradients must be finite; found nan at iteration 1"):
        run(0.5, gradient=(float("nan"), 1.0))


def test_an_infinite_loss_names_the_rows_and_the_last_good_checkpoint(make_training, tmp_path):
    make_training(tmp_path, max_epochs=1).run()
    broken = make_training(tmp_path, max_epochs=2)
    with torch.no_grad():
        broken.network.layer.weight.fill_(float("nan"))
    with pytest.raises(ConfigError) as error:
        broken.run()
    named = re.search(r"rows ([\d, ]+) of the latent cache", str(error.value))[1].split(", ")
    assert len(named) == 4
    assert {int(row) for row in named} <= set(range(10))
    assert f"the last good checkpoint is {tmp_path / 'checkpoint.pt'}" in str(error.value)


@pytest.mark.parametrize(
    "iteration, length, accumulated, steps",
    [(1, 5, 1, True), (1, 5, 2, False), (2, 5, 2, True), (5, 5, 2, True), (6, 5, 2, False), (7, 5, 2, True)],
)
def test_a_step_follows_the_last_accumulated_batch_and_an_epochs_end(iteration, length, accumulated, steps):
    engine = Engine(lambda engine, batch: None)
    engine.accumulation_steps = accumulated
    engine.state.iteration, engine.state.epoch_length = iteration, length
    assert steps_now(engine) is steps


def test_the_last_checkpoint_survives_a_broken_training(make_training, tmp_path):
    make_training(tmp_path, max_epochs=1).run()
    before = (tmp_path / "checkpoint.pt").read_bytes()
    broken = make_training(tmp_path, max_epochs=2)
    with torch.no_grad():
        broken.network.layer.weight.fill_(float("nan"))
    with pytest.raises(ConfigError, match="must be finite"):
        broken.run()
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert broken.exported == []
