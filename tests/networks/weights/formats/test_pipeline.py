"""Imported weights make, step for step, what diffusers' own InstructPix2Pix pipeline makes of them."""

from __future__ import annotations

import pytest
import torch
from monai.networks.schedulers import DDPMScheduler

from biomedjourney_monai.diffusion import sampler, solvers
from biomedjourney_monai.diffusion.sampler import CounterfactualSampler, draw_noise
from biomedjourney_monai.diffusion.solvers import make_scheduler
from biomedjourney_monai.networks.fast_path import speed_up
from biomedjourney_monai.networks.generator import CounterfactualGenerator
from biomedjourney_monai.networks.weights.formats.channels import to_grey
from biomedjourney_monai.networks.weights.formats.diffusers import autoencoder_from_diffusers, denoiser_from_diffusers

BETAS = {"beta_start": 0.00085, "beta_end": 0.012}
STEPS, TEXT_SCALE, IMAGE_SCALE = 5, 7.5, 1.5


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(4)
    image = torch.rand(1, 1, 32, 32, generator=generator)
    text, null = torch.randn(2, 1, 6, 24, generator=generator)
    return image, text, null


@pytest.fixture
def unet(make_unet):
    return make_unet()


@pytest.fixture
def vae(make_vae):
    return make_vae()


@pytest.fixture
def generator_of(unet, vae, make_sd_denoiser, make_sd_autoencoder):
    """Our generator with the weights of diffusers' networks."""

    def make(image, text, null, **settings):
        denoiser, autoencoder = make_sd_denoiser(), make_sd_autoencoder(channels=1)
        state = denoiser_from_diffusers(unet.state_dict())
        state |= {"text_projection.weight": torch.eye(24), "text_projection.bias": torch.zeros(24)}
        denoiser.load_state_dict({**state, "scale_factor": torch.tensor(vae.config.scaling_factor)})
        autoencoder.load_state_dict(to_grey(autoencoder_from_diffusers(vae.state_dict())))

        class Given(torch.nn.Module):
            def encode(self, descriptions):
                return torch.cat([text if description else null for description in descriptions])

        scheduler = DDPMScheduler(schedule="scaled_linear_beta", prediction_type="epsilon", clip_sample=False, **BETAS)
        sampler = CounterfactualSampler(
            scheduler, steps=STEPS, text_guidance_scale=TEXT_SCALE, image_guidance_scale=IMAGE_SCALE, **settings
        )
        parts = {"autoencoder": autoencoder, "denoiser": denoiser, "text_encoder": Given(), "sampler": sampler}
        return CounterfactualGenerator(**parts)

    return make


@pytest.fixture
def their_pipeline(unet, vae):
    """Latents after each step and the picture, from diffusers' pipeline with one of its schedulers."""

    def run(scheduler, image, text, null):
        from diffusers import StableDiffusionInstructPix2PixPipeline

        pipeline = StableDiffusionInstructPix2PixPipeline(
            vae=vae,
            unet=unet,
            text_encoder=None,
            tokenizer=None,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        latents = []

        def keep(_pipeline, _step, _timestep, kept):
            latents.append(kept["latents"].clone())
            return kept

        made = pipeline(
            image=image.repeat(1, 3, 1, 1),
            prompt_embeds=text,
            negative_prompt_embeds=null,
            latents=draw_noise((4, 8, 8), [3]),
            num_inference_steps=STEPS,
            guidance_scale=TEXT_SCALE,
            image_guidance_scale=IMAGE_SCALE,
            output_type="pt",
            callback_on_step_end=keep,
        )
        return latents, made.images.mean(1, keepdim=True)

    return run


def ddim():
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing", **BETAS
    )


@pytest.mark.parametrize("fast", [False, True])
def test_every_ddim_step_is_that_of_the_pipeline(
    fast, inputs, generator_of, their_pipeline, relative_error, monkeypatch
):
    theirs, picture = their_pipeline(ddim(), *inputs)
    generator = generator_of(*inputs)
    if fast:
        generator.denoiser = speed_up(generator.denoiser, precision="float32")
    image, text, null = inputs
    ours, watched = [], {"blend": lambda latent, _signal: ours.append(latent) or latent}
    monkeypatch.setattr(sampler, "solve", lambda *given, **more: solvers.solve(*given, **{**more, **watched}))
    generator.sampler(
        generator.denoiser,
        generator.autoencoder.encode(image * 2 - 1)[0],
        text,
        null,
        seeds=[3],
    )
    assert len(ours) == len(theirs) == STEPS
    for mine, other in zip(ours, theirs):
        assert relative_error(mine, other) < 1e-4
    clipped = 0.02  # a channel that diffusers clips before the mean is not what the folded autoencoder clips after it
    assert float((generator(image, "given", seeds=[3]) - picture).abs().mean()) < clipped


@pytest.mark.parametrize("solver", ["dpm++", "unipc"])
def test_the_other_solvers_end_where_the_pipeline_ends(solver, inputs, generator_of, their_pipeline, relative_error):
    generator = generator_of(*inputs, solver=solver)
    alphas = generator.sampler.noise_scheduler.alphas_cumprod
    theirs, _ = their_pipeline(make_scheduler(solver, alphas, prediction_type="epsilon"), *inputs)
    image, text, null = inputs
    prior_latent = generator.autoencoder.encode(image * 2 - 1)[0]
    ours = generator.sampler(generator.denoiser, prior_latent, text, null, seeds=[3]).latent
    assert relative_error(ours, theirs[-1]) < 1e-4
