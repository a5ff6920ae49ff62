import pytest
import torch
from monai.data import MetaTensor
from monai.networks.schedulers import DDPMScheduler

from biomedjourney_monai.diffusion.sampler import CounterfactualSampler
from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.autoencoder import PatchAutoencoderKL
from biomedjourney_monai.networks.generator import CounterfactualGenerator, Sampled
from biomedjourney_monai.networks.weights.model_file import load_tensors, save_tensors


@pytest.fixture
def make_generator(make_denoiser, word_encoder):
    def make(*, seed=0, steps=3, scale_factor=1.0, default="No change.") -> CounterfactualGenerator:
        torch.manual_seed(seed)
        scheduler = DDPMScheduler(
            num_train_timesteps=1000, schedule="cosine", prediction_type="sample", clip_sample=False
        )
        return CounterfactualGenerator(
            autoencoder=PatchAutoencoderKL(latent_channels=4, patch=8, width=8, blocks=1),
            denoiser=make_denoiser(seed=seed, residual_to_prior=True, scale_factor=scale_factor),
            text_encoder=word_encoder,
            sampler=CounterfactualSampler(scheduler, steps=steps, text_guidance_scale=3, image_guidance_scale=1.5),
            default_description=default,
        ).eval()

    return make


class FixedSampler:
    """Samples what a function of the denoiser and the prior's latent gives."""

    def __init__(self, function, *, keep_unchanged=0.0):
        self.function, self.keep_unchanged = function, keep_unchanged

    def __call__(self, denoiser, prior_latent, text_states, null_text_states, *, seeds=None, **controls):
        latent = self.function(denoiser, prior_latent)
        return latent if isinstance(latent, Sampled) else Sampled(latent)


def prior_latent_again(denoiser, prior_latent):
    return denoiser.scale_factor * prior_latent


def images(count=3, *, height=32, width=32):
    return torch.rand(count, 1, height, width, generator=torch.Generator().manual_seed(0))


def test_an_image_alone_becomes_a_counterfactual_of_the_default_description(make_generator):
    generator = make_generator(default="Clear.")
    made = generator(images())
    assert made.shape == (3, 1, 32, 32)
    assert made.dtype == torch.float32
    assert torch.equal(made, generator(images(), "Clear."))
    assert not torch.equal(made, generator(images(), "Not clear."))


def test_values_are_in_the_unit_interval_whatever_the_weights(make_generator):
    generator = make_generator()
    with torch.no_grad():
        generator.autoencoder.decoder.linear.weight.mul_(100)
    made = generator(images(), "x")
    assert (made.min(), made.max()) == (0, 1)


def test_a_result_depends_on_its_own_seed_image_and_description_alone(make_generator):
    generator = make_generator()
    texts, seeds = ["a", "b", "c"], [5, 6, 7]
    together = generator(images(), texts, seeds=seeds)
    for case in range(3):
        alone = generator(images()[case : case + 1], texts[case], seeds=seeds[case : case + 1])
        assert torch.allclose(alone[0], together[case], atol=1e-5)
    backwards = generator(images().flip(0), texts[::-1], seeds=seeds[::-1])
    assert torch.allclose(backwards.flip(0), together, atol=1e-5)


def test_the_seed_decides(make_generator):
    generator = make_generator()
    first = generator(images(1), "a", seeds=[1])
    assert torch.equal(first, generator(images(1), "a", seeds=[1]))
    assert not torch.equal(first, generator(images(1), "a", seeds=[2]))
    torch.manual_seed(99)  # the global generator has no say
    assert torch.equal(first, generator(images(1), "a", seeds=[1]))


def test_the_decoder_gets_unscaled_latents(make_generator):
    generator = make_generator(scale_factor=0.5)
    latent = torch.randn(1, 4, 4, 4)
    generator.sampler = FixedSampler(lambda denoiser, prior: latent)
    expected = ((generator.autoencoder.decode(latent / 0.5) + 1) / 2).clamp(0, 1)
    assert torch.allclose(generator(images(1), "a"), expected)


def test_the_priors_own_pixels_stay_where_nothing_changed(make_generator):
    generator, image = make_generator(), images(2)
    generator.sampler = FixedSampler(prior_latent_again, keep_unchanged=0.1)
    assert torch.allclose(generator(image), image, atol=0.002)  # what the autoencoder loses is no change
    generator.sampler = FixedSampler(prior_latent_again)
    assert not torch.allclose(generator(image), image, atol=0.02)


def test_one_sampling_gives_what_each_threshold_alone_gives(make_generator):
    generator, calls = make_generator(), []
    thresholds = [0.0, 0.02, 0.1]
    alone = []
    for threshold in thresholds:
        generator.sampler.keep_unchanged = threshold
        alone.append(generator(images(2), ["a", "b"], seeds=[1, 2]))
    own = generator.sampler

    class Counting(FixedSampler):
        def __call__(self, *arguments, **more):
            calls.append(1)
            return own(*arguments, **more)

    counting = Counting(None)
    together = generator.keeping(images(2), ["a", "b"], seeds=[1, 2], thresholds=thresholds, sampler=counting)
    assert calls == [1]
    assert not torch.equal(together[0], together[1])
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))


def test_the_sampler_gets_the_priors_mode_the_text_and_the_null_text(make_generator, word_encoder):
    generator = make_generator()
    seen = {}

    class Watching(FixedSampler):
        def __call__(self, denoiser, prior_latent, text_states, null_text_states, *, seeds=None, **controls):
            seen.update(prior=prior_latent, text=text_states, null=null_text_states, seeds=seeds)
            return Sampled(prior_latent)

    generator.sampler = Watching(None)
    generator(images(2), ["a", "b"], seeds=[3, 4])
    assert torch.equal(seen["prior"], generator.autoencoder.encode(images(2) * 2 - 1)[0])
    assert torch.equal(seen["text"], word_encoder.encode(["a", "b"]))
    assert torch.equal(seen["null"], word_encoder.encode([""]))
    assert seen["seeds"] == [3, 4]


def test_oblong_images_and_meta_tensors_are_taken(make_generator):
    generator = make_generator()
    oblong = images(1, height=32, width=48)
    made = generator(MetaTensor(oblong), "a")
    assert type(made) is torch.Tensor
    assert torch.equal(made, generator(oblong, "a"))


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 3, 32, 32), (32, 32)])
def test_images_of_another_shape_are_refused(make_generator, shape):
    with pytest.raises(ValueError, match=r"\(B, 1, H, W\)"):
        make_generator()(torch.zeros(shape))


def test_a_wrong_number_of_descriptions_or_seeds_is_refused(make_generator):
    generator = make_generator()
    with pytest.raises(ValueError, match="one description for each of 3"):
        generator(images(), ["a", "b"])
    with pytest.raises(ValueError, match="one seed for each of 3"):
        generator(images(), "a", seeds=[1])


def test_weights_go_and_come_back(make_generator, tmp_path):
    saved, fresh = make_generator(seed=1, scale_factor=0.75), make_generator(seed=2)
    saved.save(tmp_path / "model.pt", info={"stage": "finetune"}, half=False)
    info = fresh.load(tmp_path / "model.pt")
    assert info["stage"] == "finetune" and info["text_encoder"] == "0" * 64
    assert torch.equal(fresh(images(), "a"), saved(images(), "a"))


def test_half_precision_changes_little_and_the_text_encoder_is_not_saved(make_generator, tmp_path):
    saved, fresh = make_generator(seed=1), make_generator(seed=2)
    saved.save(tmp_path / "model.pt")
    fresh.load(tmp_path / "model.pt")
    state, _ = load_tensors(tmp_path / "model.pt")
    assert {tensor.dtype for tensor in state.values() if tensor.ndim} == {torch.float16}
    assert not any(name.startswith("text_encoder") for name in state)
    assert torch.allclose(fresh(images(), "a"), saved(images(), "a"), atol=0.02)


def test_half_precision_leaves_the_scale_factor_exact_and_rounded_ones_still_load(make_generator, tmp_path):
    saved, fresh = make_generator(scale_factor=0.18215), make_generator()
    saved.save(tmp_path / "model.pt")
    fresh.load(tmp_path / "model.pt")
    assert fresh.denoiser.scale_factor.item() == saved.denoiser.scale_factor.item() != 0.18215  # float32's nearest
    state, info = load_tensors(tmp_path / "model.pt")
    state["denoiser.scale_factor"] = state["denoiser.scale_factor"].half()  # as older files have it
    save_tensors(tmp_path / "old.pt", state, info=info)
    fresh.load(tmp_path / "old.pt")
    assert fresh.denoiser.scale_factor.dtype == torch.float32
    assert fresh.denoiser.scale_factor.item() == pytest.approx(0.18215, rel=1e-3)


def test_weights_of_another_text_encoder_are_refused(make_generator, tmp_path):
    generator = make_generator()
    generator.save(tmp_path / "model.pt")
    generator.text_encoder.weights_hash = "1" * 64
    with pytest.raises(WeightsError, match="text encoder 111111111111 where 000000000000 was used"):
        generator.load(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("denoiser.text_projection.bias"), "1 missing"),
        (lambda state: state.update({"denoiser.more": torch.zeros(1)}), "1 surplus"),
        (lambda state: state.update({"judge.weight": torch.zeros(1)}), "1 others, first judge.weight"),
        (lambda state: state.update({"autoencoder.decoder.linear.bias": torch.zeros(3)}), "of another shape"),
    ],
)
def test_weights_must_fit_tensor_for_tensor(make_generator, tmp_path, change, message):
    generator = make_generator()
    generator.save(tmp_path / "model.pt")
    state, info = load_tensors(tmp_path / "model.pt")
    change(state)
    save_tensors(tmp_path / "model.pt", state, info=info)
    with pytest.raises(WeightsError, match=message):
        generator.load(tmp_path / "model.pt")


def test_torchscript_keeps_the_default_description_seed_and_steps(make_generator, tmp_path):
    generator = make_generator(default="Clear.", steps=1)
    generator.image_size = 32
    torch.jit.script(generator).save(str(tmp_path / "generator.ts"))
    image = images(1)
    assert torch.allclose(torch.jit.load(tmp_path / "generator.ts")(image), generator(image, "Clear."), atol=1e-5)


def test_where_the_description_makes_no_difference_the_prior_stays(make_generator):
    def change(denoiser, prior_latent):
        """Changes everything; the description has an effect on the first image only."""
        effect = torch.zeros_like(prior_latent)
        effect[0] = 5.0
        scale = denoiser.scale_factor
        return Sampled((prior_latent + 5.0) * scale, prior_latent * scale, (prior_latent + effect) * scale)

    generator, priors = make_generator(), images(2)
    generator.sampler = FixedSampler(change, keep_unchanged=0.02)
    made = generator(priors, "a")
    assert (made[0] - priors[0]).abs().mean() > 0.01
    assert (made[1] - priors[1]).abs().max() < 0.02 * float((made[0] - priors[0]).abs().max())
