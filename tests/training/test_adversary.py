import copy

import pytest
import torch
from ignite.engine import Engine

from biomedjourney_monai.training.adversary import PatchAdversary


def make(*, weight=0.5, start_iteration=0, seed=0):
    return PatchAdversary(
        weight=weight, start_iteration=start_iteration, learning_rate=1e-2, channels=4, layers=1, seed=seed
    )


def engine_with(adversary, made, real):
    engine = Engine(lambda engine, batch: {"pred": (made, None, None), "label": real})
    adversary.attach(engine)
    return engine


def pictures():
    """Made: noise. Real: stripes."""
    stripes = torch.sin(torch.arange(16.0) + torch.arange(4.0)[:, None])[:, None, None].expand(4, 1, 16, 16)
    return torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.7, stripes.clone()


def test_it_waits_until_the_autoencoder_has_begun():
    adversary = make(start_iteration=2)
    made, real = pictures()
    before = {name: value.clone() for name, value in adversary.discriminator.state_dict().items()}
    engine = engine_with(adversary, made, real)
    engine.run([0, 1], max_epochs=1)
    assert not adversary.is_active and adversary.penalty(made).item() == 0
    assert all(torch.equal(value, before[name]) for name, value in adversary.discriminator.state_dict().items())
    engine.run([0, 1, 2], max_epochs=1)
    assert adversary.is_active and adversary.penalty(made).item() > 0


def test_the_discriminator_learns_to_tell_made_from_real():
    adversary = make()
    made, real = pictures()
    engine_with(adversary, made, real).run(range(30), max_epochs=1)
    with torch.no_grad():
        assert adversary.discriminator(real)[-1].mean() > adversary.discriminator(made)[-1].mean() + 0.5


def test_the_penalty_is_weighted_and_pushes_the_reconstruction_toward_real():
    adversary, double = make(weight=0.5), make(weight=1.0)
    made, real = pictures()
    for one in (adversary, double):
        engine_with(one, made, real).run(range(30), max_epochs=1)
    assert double.penalty(made).item() == pytest.approx(2 * adversary.penalty(made).item(), rel=1e-4)
    moved = made.clone().requires_grad_()
    penalty = adversary.penalty(moved)
    penalty.backward()
    assert adversary.penalty(made - 0.1 * moved.grad / moved.grad.abs().max()).item() < penalty.item()


def test_what_the_autoencoders_backward_pass_left_is_not_learnt():
    alone, with_penalty = make(), make()
    made, real = pictures()

    def run(adversary, *, backward):
        def step(engine, batch):
            if backward:
                adversary.penalty(made.clone().requires_grad_()).backward()
            return {"pred": (made, None, None), "label": real}

        adversary.discriminator.eval()  # batch statistics see every call
        engine = Engine(step)
        adversary.attach(engine)
        engine.run(range(3), max_epochs=1)
        return adversary.discriminator.state_dict()

    one, other = run(alone, backward=False), run(with_penalty, backward=True)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_weight_zero_is_no_discriminator_at_all():
    adversary = make(weight=0)
    made, real = pictures()
    engine_with(adversary, made, real).run(range(2), max_epochs=1)
    assert adversary.states() == {} and adversary.penalty(made).item() == 0


def test_its_states_bring_it_back():
    trained, fresh = make(seed=0), make(seed=1)
    made, real = pictures()
    engine_with(trained, made, real).run(range(3), max_epochs=1)
    for name, state in fresh.states().items():
        state.load_state_dict(copy.deepcopy(trained.states()[name].state_dict()))
    for adversary in (trained, fresh):
        engine_with(adversary, made, real).run(range(2), max_epochs=1)
    one, other = trained.discriminator.state_dict(), fresh.discriminator.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_building_it_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    make()
    assert torch.equal(torch.rand(1), expected)
