"""The fast denoiser computes what the plain one does."""

import copy

import pytest
import torch
from monai.networks.schedulers import DDPMScheduler

from biomedjourney_monai.diffusion.sampler import CounterfactualSampler
from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.networks import fast_path
from biomedjourney_monai.networks.fast_path import (
    FastAutoencoder,
    FastDenoiser,
    KeptLinear,
    PackedConvolution,
    PackedLinear,
    can_pack,
    choose_precision,
    speed_up,
)
from biomedjourney_monai.networks.prior_expectation import PriorExpectation

needs_packing = pytest.mark.skipif(not can_pack(torch.float32), reason="this build of torch has no oneDNN")


def make_inputs(batch=3):
    generator = torch.Generator().manual_seed(0)
    noisy, prior = torch.randn(2, batch, 4, 8, 8, generator=generator)
    return noisy, torch.full((batch,), 300), prior, torch.randn(batch, 5, 6, generator=generator)


def relative_error(found, expected):
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("prior", ["expectation", "residual", "input alone"])
@pytest.mark.parametrize("pack", [True, False])
def test_in_float32_it_computes_the_same(make_denoiser, prior, pack):
    expectation = PriorExpectation(channels=4, alphas_cumprod=torch.linspace(0.99, 0.01, 1000))
    expectation.share.fill_(0.4)
    plain = make_denoiser(
        residual_to_prior=prior == "residual",
        prior_expectation=expectation if prior == "expectation" else None,
        scale_factor=0.7,
    )
    expected = plain(*make_inputs()).detach()
    fast = speed_up(copy.deepcopy(plain), precision="float32", pack=pack)
    assert relative_error(fast(*make_inputs()), expected) < 1e-5
    assert relative_error(fast(*make_inputs()), expected) < 1e-5  # packed now
    assert float(fast.scale_factor) == float(plain.scale_factor)


def test_in_bfloat16_it_computes_nearly_the_same(make_denoiser):
    plain = make_denoiser()
    expected = plain(*make_inputs()).detach()
    fast = speed_up(copy.deepcopy(plain), precision="bfloat16")
    found = fast(*make_inputs())
    assert found.dtype == torch.float32
    assert 0 < relative_error(found, expected) < 0.03
    assert {value.dtype for name, value in fast.named_parameters()} == {torch.bfloat16}


@needs_packing
def test_every_convolution_and_linear_map_is_packed_once_and_its_weight_freed(make_denoiser):
    fast = speed_up(make_denoiser(), precision="float32")
    fast(*make_inputs())
    packed = [module for module in fast.modules() if isinstance(module, (PackedConvolution, PackedLinear))]
    plain = [module for module in fast.unet.modules() if type(module) in (torch.nn.Conv2d, torch.nn.Linear)]
    assert len(packed) > 20
    assert not plain
    assert all(module.weight is None for module in packed)
    before = [module.packed for module in packed]
    fast(*make_inputs())
    assert all(module.packed is tensor for module, tensor in zip(packed, before))


@needs_packing
def test_packed_weights_take_any_batch(make_denoiser):
    plain = make_denoiser()
    fast = speed_up(copy.deepcopy(plain), precision="float32")
    for batch in (3, 1, 6):
        assert relative_error(fast(*make_inputs(batch)), plain(*make_inputs(batch)).detach()) < 1e-5


def test_a_text_is_projected_once_for_all_steps_and_again_for_another(make_denoiser):
    fast, calls = speed_up(make_denoiser(), precision="float32"), []
    fast.text_projection.linear.register_forward_hook(lambda *_: calls.append(1))
    noisy, timesteps, prior, text = make_inputs()
    first = fast(noisy, timesteps, prior, text)
    fast(noisy, timesteps, prior, text)
    assert len(calls) == 1
    other = fast(noisy, timesteps, prior, text.clone() + 1)
    assert len(calls) == 2
    assert not torch.equal(first, other)


def test_a_text_changed_in_place_is_seen():
    kept = KeptLinear(torch.nn.Linear(2, 2).requires_grad_(False))
    x = torch.zeros(1, 2)
    before = kept(x)
    x.add_(1)
    assert not torch.equal(kept(x), before)


@pytest.mark.parametrize("solver", ["ddim", "unipc"])
def test_sampling_with_it_gives_the_same_latents(make_denoiser, solver):
    plain = make_denoiser()
    scheduler = DDPMScheduler(num_train_timesteps=1000, schedule="cosine", prediction_type="sample", clip_sample=False)
    sampler = CounterfactualSampler(
        scheduler, steps=4, solver=solver, text_guidance_scale=3.0, image_guidance_scale=1.5
    )
    _, _, prior, text = make_inputs(2)
    null = torch.zeros(1, 5, 6)
    expected = sampler(plain, prior, text, null, seeds=[1, 2]).latent
    fast = speed_up(copy.deepcopy(plain), precision="float32")
    assert relative_error(sampler(fast, prior, text, null, seeds=[1, 2]).latent, expected) < 1e-4


def test_without_instructions_for_short_numbers_it_falls_back(make_denoiser, monkeypatch):
    plain = make_denoiser()
    expected = plain(*make_inputs()).detach()
    monkeypatch.setattr(fast_path, "cpu_multiplies_bfloat16", lambda: False)
    assert choose_precision("cpu") == "float32"
    fast = speed_up(copy.deepcopy(plain))
    assert fast.dtype == torch.float32
    assert not can_pack(torch.bfloat16)
    assert relative_error(fast(*make_inputs()), expected) < 1e-5


@pytest.mark.parametrize("missing", ["amx_bf16", "avx512_bf16"])
def test_either_instruction_set_will_do(monkeypatch, missing):
    names = {"amx_bf16": True, "avx512_bf16": True, missing: False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: names, raising=False)
    assert fast_path.cpu_multiplies_bfloat16()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(names, False), raising=False)
    assert not fast_path.cpu_multiplies_bfloat16()


@pytest.mark.parametrize(
    ("cpu", "amx", "expected"),
    [("Intel Xeon", True, "bfloat16"), ("Intel Xeon", False, "float32"), ("AMD EPYC", False, "bfloat16")],
)
def test_intels_short_numbers_are_chosen_with_amx_only(monkeypatch, cpu, amx, expected):
    names = {"cpu_name": cpu, "amx_bf16": amx, "avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: names, raising=False)
    assert choose_precision("cpu") == expected


@pytest.mark.slow
def test_compiled_it_computes_the_same_and_sees_another_text(make_denoiser, monkeypatch):
    compile_for_real, compiled = torch.compile, []
    monkeypatch.setattr(torch, "compile", lambda m: compiled.append(m) or compile_for_real(m, backend="eager"))
    plain = make_denoiser()
    fast = speed_up(copy.deepcopy(plain), precision="float32", pack=False, compiled=True)
    noisy, timesteps, prior, text = make_inputs()
    other = text.flip(1) + 1
    for words, earlier in ((text, 0), (text, 100), (other, 0), (other, 50), (text, 0)):
        expected = plain(noisy, timesteps - earlier, prior, words).detach()
        assert relative_error(fast(noisy, timesteps - earlier, prior, words), expected) < 1e-5
    assert len(compiled) == 1


def test_without_onednn_nothing_is_packed(make_denoiser, monkeypatch):
    monkeypatch.setattr(fast_path, "can_pack", lambda dtype: False)
    fast = speed_up(make_denoiser(), precision="float32")
    assert not any(isinstance(module, (PackedConvolution, PackedLinear)) for module in fast.modules())


@pytest.mark.parametrize("bf16, precision", [(True, "bfloat16"), (False, "float16")])
def test_a_gpu_gets_the_short_type_that_it_has(monkeypatch, bf16, precision):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)
    assert choose_precision("cuda") == precision


def test_an_unknown_precision_is_refused(make_denoiser):
    with pytest.raises(ConfigError, match="auto or one of float32, bfloat16, float16; found int4"):
        speed_up(make_denoiser(), precision="int4")


def test_the_classes_name_what_the_sampler_reads(make_denoiser):
    fast = speed_up(make_denoiser(residual_to_prior=False), precision="float32")
    assert isinstance(fast, FastDenoiser)
    assert (fast.latent_channels, fast.residual_to_prior) == (4, False)


@pytest.fixture
def make_autoencoder():
    def make():
        from biomedjourney_monai.networks.stable_diffusion import StableDiffusionAutoencoder

        torch.manual_seed(0)
        sizes = {"channels": (8, 16), "num_res_blocks": 1, "norm_num_groups": 4}
        return StableDiffusionAutoencoder(in_channels=1, out_channels=1, **sizes).eval()

    return make


@pytest.mark.parametrize("dtype, bound", [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_a_fast_autoencoder_gives_nearly_the_same_in_float32(make_autoencoder, dtype, bound):
    image = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    plain, fast = make_autoencoder(), FastAutoencoder(make_autoencoder(), dtype=dtype)
    expected, found = plain.encode(image), fast.encode(image)
    for one, other in zip(found, expected):
        assert one.dtype == torch.float32
        assert relative_error(one, other) < bound
    decoded = fast.decode(expected[0])
    assert decoded.dtype == torch.float32
    assert 0 <= relative_error(decoded, plain.decode(expected[0])) < bound
    if dtype == torch.bfloat16:
        assert relative_error(decoded, plain.decode(expected[0])) > 1e-5
