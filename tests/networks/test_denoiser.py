import copy

import pytest
import torch

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.networks.prior_expectation import PriorExpectation


def inputs(batch=2, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    noisy, prior = torch.randn(2, batch, 4, 8, 8, generator=generator)
    text = torch.randn(batch, 5, 6, generator=generator)
    return {
        "noisy_latent": noisy,
        "timesteps": torch.tensor([900, 3])[:batch],
        "prior_latent": prior,
        "text_states": text,
    }


@torch.no_grad()
def predict(denoiser, **changes):
    return denoiser(**{**inputs(), **changes})


def test_the_prediction_has_the_latents_shape(make_denoiser):
    assert predict(make_denoiser()).shape == (2, 4, 8, 8)


def test_before_training_the_prior_latent_changes_nothing(make_denoiser):
    denoiser = make_denoiser()
    other = torch.randn(2, 4, 8, 8)
    assert predict(denoiser).abs().max() > 0.01
    assert torch.equal(predict(denoiser), predict(denoiser, prior_latent=other))


def test_training_reaches_the_weights_that_see_the_prior_latent(make_denoiser):
    denoiser = make_denoiser()
    denoiser(**inputs()).square().sum().backward()
    gradient = denoiser.unet.conv_in.conv.weight.grad
    assert gradient[:, 4:].abs().sum() > 0
    with torch.no_grad():
        denoiser.unet.conv_in.conv.weight -= 0.1 * gradient
    assert not torch.equal(predict(denoiser), predict(denoiser, prior_latent=torch.zeros(2, 4, 8, 8)))


@pytest.mark.parametrize("scale_factor", [1.0, 0.5])
def test_the_residual_adds_the_scaled_prior_latent(make_denoiser, scale_factor):
    plain = make_denoiser(residual_to_prior=False)
    residual = make_denoiser(residual_to_prior=True, scale_factor=scale_factor)
    residual.unet.load_state_dict(plain.unet.state_dict())
    residual.text_projection.load_state_dict(plain.text_projection.state_dict())
    expected = predict(plain) + scale_factor * inputs()["prior_latent"]
    assert torch.allclose(predict(residual), expected, atol=1e-6)


def test_an_untrained_residual_denoiser_predicts_the_prior(make_denoiser):
    denoiser = make_denoiser(awake=False, residual_to_prior=True, scale_factor=0.5)
    assert torch.allclose(predict(denoiser), 0.5 * inputs()["prior_latent"])


def test_the_expectation_turns_the_output_into_a_clean_latent(make_denoiser):
    plain = make_denoiser()
    expectation = PriorExpectation(channels=4, alphas_cumprod=torch.linspace(0.99, 0.01, 1000))
    expectation.share.fill_(0.4)
    whole = make_denoiser(prior_expectation=expectation, scale_factor=0.5)
    found = predict(whole)
    given = inputs()
    expected = expectation(predict(plain), given["noisy_latent"], given["timesteps"], 0.5 * given["prior_latent"])
    assert torch.allclose(found, expected, atol=1e-6)
    assert not torch.allclose(found, predict(plain), atol=0.1)


def test_an_expectation_and_a_residual_exclude_each_other(make_denoiser):
    expectation = PriorExpectation(channels=4, alphas_cumprod=torch.ones(1000))
    with pytest.raises(ConfigError, match="residual_to_prior"):
        make_denoiser(prior_expectation=expectation, residual_to_prior=True)


@pytest.mark.parametrize(
    "change",
    [
        {"text_states": torch.zeros(2, 5, 6)},
        {"timesteps": torch.tensor([10, 500])},
        {"noisy_latent": torch.zeros(2, 4, 8, 8)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_input_changes_the_prediction(make_denoiser, change):
    denoiser = make_denoiser()
    difference = (predict(denoiser, **change) - predict(denoiser)).flatten(1).abs().amax(1)
    assert (difference > 1e-4).all()


def test_cases_of_a_batch_do_not_mix(make_denoiser):
    denoiser = make_denoiser()
    single = {name: value[1:] for name, value in inputs().items()}
    assert torch.allclose(denoiser(**single), denoiser(**inputs())[1:], atol=1e-5)


def test_the_scale_factor_is_saved_with_the_weights_and_not_trained(make_denoiser):
    trained, fresh = make_denoiser(scale_factor=0.75), make_denoiser(scale_factor=1.0)
    fresh.load_state_dict(trained.state_dict())
    assert float(fresh.scale_factor) == 0.75
    assert "scale_factor" not in dict(fresh.named_parameters())


def kept_for_backward(denoiser):
    """Bytes that autograd keeps of one forward pass."""
    kept = []

    def note(tensor):
        kept.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = denoiser(**inputs()).square().sum()
    return sum(kept), loss


def test_gradient_checkpointing_keeps_less_and_changes_no_gradient(make_denoiser):
    plain, frugal = make_denoiser(), make_denoiser(gradient_checkpointing=True)
    assert frugal.state_dict().keys() == plain.state_dict().keys()
    assert frugal.geometry == plain.geometry
    (much, loss), (little, again) = kept_for_backward(plain), kept_for_backward(frugal)
    assert little < 0.5 * much
    loss.backward()
    again.backward()
    for (name, one), other in zip(plain.named_parameters(), frugal.parameters()):
        assert torch.equal(one.grad, other.grad), name


def test_a_copy_of_a_checkpointed_denoiser_is_a_denoiser_of_its_own(make_denoiser):
    denoiser = make_denoiser(gradient_checkpointing=True)
    before = predict(denoiser)
    average = copy.deepcopy(denoiser)
    for parameter in denoiser.parameters():
        parameter.data.zero_()
    assert torch.equal(predict(average), before)
