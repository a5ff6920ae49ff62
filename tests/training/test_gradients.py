import pytest
import torch
from ignite.engine import Engine
from monai.engines import IterationEvents

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.training.gradients import ClipGradients


def run(loss, *, max_norm=1.0):
    parameter = torch.nn.Parameter(torch.zeros(2))

    def step(engine, batch):
        parameter.grad = torch.tensor([3.0, 4.0])
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
