import copy

import pytest
import torch
from ignite.engine import Engine, Events

from biomedjourney_monai.training.handlers.averaging import LatestWeights, WeightAverage, weight_average


def run(average, network, *, iterations, start=0):
    """Set the network's weight to the number of each iteration."""
    shares = []

    def step(engine, batch):
        with torch.no_grad():
            network.weight.fill_(float(engine.state.iteration))

    engine = Engine(step)
    average.attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: shares.append(engine.state.ema_momentum))
    engine.add_event_handler(Events.STARTED, lambda engine: setattr(engine.state, "iteration", start))
    engine.run(range(iterations + start), max_epochs=1, epoch_length=iterations + start)
    return shares


def make():
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    return network, WeightAverage(network, momentum=0.1, momentum_warmup=0.5, warmup_iters=5)


def test_the_average_by_hand():
    network, average = make()
    shares = run(average, network, iterations=7)
    assert shares == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.1])
    expected = 0.0
    for iteration, share in enumerate(shares, start=1):
        expected = (1 - share) * expected + share * iteration
    assert average.ema_model.weight.item() == pytest.approx(expected)
    assert network.weight.item() == 7


def test_training_the_network_does_not_train_its_average():
    network, average = make()
    before = copy.deepcopy(average.ema_model.state_dict())
    with torch.no_grad():
        network.weight.fill_(9)
    assert torch.equal(average.ema_model.weight, before["weight"])
    assert not average.ema_model.training


def test_the_warm_up_goes_on_where_a_resumed_training_goes_on():
    network, average = make()
    assert run(average, network, iterations=2, start=3) == pytest.approx([0.2, 0.1])


def test_buffers_follow_without_being_shared():
    network = torch.nn.BatchNorm1d(2)
    average = WeightAverage(network, momentum=0.1, momentum_warmup=0.5, warmup_iters=5)
    engine = Engine(lambda engine, batch: network.running_mean.fill_(3.0))
    average.attach(engine)
    engine.run([0])
    network.running_mean.fill_(4.0)
    assert average.ema_model.running_mean.tolist() == [3.0, 3.0]


def test_a_momentum_of_one_keeps_no_second_network():
    network, _ = make()
    latest = weight_average(network, momentum=1.0, momentum_warmup=0.5, warmup_iters=5)
    assert isinstance(latest, LatestWeights)
    assert latest.ema_model is network
    latest.attach(Engine(lambda engine, batch: None))
    assert isinstance(weight_average(network, momentum=0.1, momentum_warmup=0.5, warmup_iters=5), WeightAverage)
