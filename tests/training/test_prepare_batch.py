import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ignite.engine import Engine
from monai.networks.schedulers import DDPMScheduler

from biomedjourney_monai.training.prepare_batch import (
    DiffusionPrepareBatch,
    WeightedLatentLoss,
    WeightedTarget,
    min_snr_weight,
)

TYPES = ("epsilon", "v_prediction", "sample")
NULL = torch.full((1, 5, 6), -1.0)
STEP = torch.zeros(1, dtype=torch.int64)
NO_DROP = {"drop_text": 0.0, "drop_image": 0.0, "drop_both": 0.0}


def make_scheduler(prediction_type="sample"):
    return DDPMScheduler(
        num_train_timesteps=1000, schedule="cosine", prediction_type=prediction_type, clip_sample=False
    )


def make_prepare(prediction_type="sample", **settings):
    settings = {"scale_factor": 0.5, "null_text_states": NULL, **settings}
    return DiffusionPrepareBatch(make_scheduler(prediction_type), **settings)


def make_batch(size=4, *, log_variance=-60.0):
    generator = torch.Generator().manual_seed(0)
    return {
        "new_mean": torch.randn(size, 4, 8, 8, generator=generator),
        "new_log_variance": torch.full((size, 4, 8, 8), log_variance),
        "prior_latent": torch.ones(size, 4, 8, 8),
        "valid": torch.ones(size, 1, 8, 8),
        "text_states": torch.ones(size, 5, 6),
    }


def test_the_trainer_gets_what_the_denoiser_takes(make_denoiser):
    noisy, target, positional, named = make_prepare()(make_batch(), "cpu")
    assert noisy.shape == target.target.shape == (4, 4, 8, 8)
    assert target.weight.shape == (4, 1, 8, 8)
    assert positional == ()
    assert named["timesteps"].dtype == torch.int64
    assert make_denoiser()(noisy, **named).shape == (4, 4, 8, 8)


def test_timesteps_cover_the_whole_schedule():
    named = make_prepare()(make_batch(4000), "cpu")[3]
    timesteps = named["timesteps"]
    assert timesteps.min() < 10
    assert 990 <= timesteps.max() <= 999
    assert float(timesteps.float().mean()) == pytest.approx(499.5, abs=20)


@pytest.mark.parametrize("prediction_type", TYPES)
def test_the_noisy_latent_and_the_target_belong_together(prediction_type):
    batch = make_batch(64)
    prepare = make_prepare(prediction_type)
    noisy, (target, *_), _, named = prepare(batch, "cpu")
    alpha = prepare.noise_scheduler.alphas_cumprod[named["timesteps"]][:, None, None, None]
    clean = 0.5 * batch["new_mean"]  # the posterior's deviation is 1e-13
    noise = (noisy - alpha.sqrt() * clean) / (1 - alpha).sqrt()
    expected = {"sample": clean, "epsilon": noise, "v_prediction": alpha.sqrt() * noise - (1 - alpha).sqrt() * clean}
    sure = (1 - alpha.flatten()).sqrt() > 0.05  # dividing by less is inexact
    assert torch.allclose(target[sure], expected[prediction_type][sure], atol=1e-4)
    assert float(noise[sure].mean()) == pytest.approx(0, abs=0.05)
    assert float(noise[sure].std()) == pytest.approx(1, abs=0.05)


def test_the_target_is_a_scaled_sample_of_the_posterior():
    batch = make_batch(200, log_variance=2 * float(torch.tensor(0.3).log()))
    _, (target, *_), _, _ = make_prepare("sample")(batch, "cpu")
    scatter = target - 0.5 * batch["new_mean"]
    assert float(scatter.std()) == pytest.approx(0.5 * 0.3, rel=0.03)
    assert float(scatter.mean()) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    ("drop_text", "drop_image", "drop_both"), [(0.05, 0.05, 0.05), (0.2, 0.0, 0.1), (0.0, 0.5, 0.5), (0.0, 0.0, 0.0)]
)
def test_conditions_are_dropped_as_often_as_asked(drop_text, drop_image, drop_both):
    prepare = make_prepare(drop_text=drop_text, drop_image=drop_image, drop_both=drop_both)
    count = 20_000
    batch = {
        name: value[:1, ..., :1].expand(count, *value[:1, ..., :1].shape[1:]) for name, value in make_batch(1).items()
    }
    batch["text_states"] = torch.ones(count, 5, 6)
    named = prepare(batch, "cpu")[3]
    without_image = (named["prior_latent"] == 0).all(dim=(1, 2, 3))
    without_text = (named["text_states"] == -1).all(dim=2).all(dim=1)
    rates = {
        "text alone": (without_text & ~without_image, drop_text),
        "image alone": (without_image & ~without_text, drop_image),
        "both": (without_text & without_image, drop_both),
    }
    for name, (dropped, rate) in rates.items():
        assert float(dropped.float().mean()) == pytest.approx(rate, abs=0.01), name
    kept = named["text_states"][~without_text]
    assert torch.equal(kept, torch.ones_like(kept))
    kept = named["prior_latent"][~without_image]
    assert torch.equal(kept, torch.ones_like(kept))


@pytest.mark.parametrize("rates", [{"drop_text": 0.9, "drop_image": 0.2}, {"drop_both": -0.1}])
def test_impossible_rates_are_refused(rates):
    with pytest.raises(ValueError, match="probabilities"):
        make_prepare(**rates)


@pytest.mark.parametrize(
    ("alpha", "weights"),
    [
        (0.5, {"epsilon": 1.0, "v_prediction": 0.5, "sample": 1.0}),  # SNR 1 < 5
        (0.9, {"epsilon": 5 / 9, "v_prediction": 0.5, "sample": 5.0}),  # SNR 9, clipped to 5
        (0.2, {"epsilon": 1.0, "v_prediction": 0.2, "sample": 0.25}),  # SNR 0.25
    ],
)
def test_min_snr_weights_by_hand(alpha, weights):
    for prediction_type, weight in weights.items():
        found = min_snr_weight(torch.tensor([alpha]), prediction_type=prediction_type, gamma=5)
        assert found.item() == pytest.approx(weight, rel=1e-5)


@given(alpha=st.floats(0.001, 0.999), gamma=st.floats(0.1, 20))
def test_all_prediction_types_weigh_the_same_error_alike(alpha, gamma):
    """An error e of the clean latent is e · sqrt(SNR) of the noise, e · sqrt(SNR + 1) of the velocity."""
    ratio = alpha / (1 - alpha)
    weigh = {name: min_snr_weight(torch.tensor([alpha]), prediction_type=name, gamma=gamma).item() for name in TYPES}
    assert weigh["epsilon"] * ratio == pytest.approx(weigh["sample"], rel=1e-3)
    assert weigh["v_prediction"] * (ratio + 1) == pytest.approx(weigh["sample"], rel=1e-3)


def test_weights_multiply_mask_timestep_and_channel():
    prepare = make_prepare(min_snr_gamma=5.0, channel_weight=torch.tensor([2.0, 1.0, 0.5, 0.5]))
    batch = make_batch()
    batch["valid"][0, 0, 2, 3] = 0
    _, (_, weight, _), _, named = prepare(batch, "cpu")
    alpha = prepare.noise_scheduler.alphas_cumprod[named["timesteps"][0]]
    by_timestep = min(float(alpha / (1 - alpha)), 5.0)
    assert weight.shape == (4, 4, 8, 8)
    assert weight[0, :, 2, 3].tolist() == [0, 0, 0, 0]
    assert weight[0, :, 0, 0].tolist() == pytest.approx(
        [2 * by_timestep, by_timestep, by_timestep / 2, by_timestep / 2]
    )


def test_what_the_mask_hides_does_not_count():
    prediction, target = torch.zeros(1, 2, 2, 2), torch.ones(1, 2, 2, 2)
    weight = torch.ones(1, 1, 2, 2)
    weight[..., 0] = 0
    spoiled = prediction.clone()
    spoiled[..., 0] = 1e3
    loss = WeightedLatentLoss()
    assert loss(prediction, WeightedTarget(target, weight, STEP)).item() == pytest.approx(0.5)  # half of the places
    assert torch.equal(
        loss(spoiled, WeightedTarget(target, weight, STEP)), loss(prediction, WeightedTarget(target, weight, STEP))
    )


def test_the_loss_by_hand_and_in_bfloat16():
    prediction = torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1)
    wanted = WeightedTarget(torch.zeros(1, 2, 1, 1), torch.tensor([2.0, 0.5]).reshape(1, 2, 1, 1), STEP)
    assert WeightedLatentLoss()(prediction, wanted).item() == pytest.approx((2 * 1 + 0.5 * 9) / 2)
    assert WeightedLatentLoss()(prediction.bfloat16(), wanted).dtype == torch.float32


def flat(prepared):
    noisy, target, _, named = prepared
    return [noisy, *target, *named.values()]


def test_the_same_seed_gives_the_same_batch_whatever_the_global_generator():
    torch.manual_seed(1)
    first = flat(make_prepare(seed=3)(make_batch(), "cpu"))
    torch.manual_seed(2)
    second = flat(make_prepare(seed=3)(make_batch(), "cpu"))
    assert all(torch.equal(a, b) for a, b in zip(first, second))
    other = flat(make_prepare(seed=4)(make_batch(), "cpu"))
    assert not torch.equal(first[0], other[0])


def test_each_batch_is_drawn_anew_and_the_inputs_stay():
    prepare, batch = make_prepare(drop_both=0.5), make_batch()
    before = {name: value.clone() for name, value in batch.items()}
    assert not torch.equal(flat(prepare(batch, "cpu"))[0], flat(prepare(batch, "cpu"))[0])
    assert all(torch.equal(before[name], batch[name]) for name in batch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_schedule_stays_in_float32(dtype):
    prepare = make_prepare("v_prediction", min_snr_gamma=5.0)
    before = prepare.noise_scheduler.alphas_cumprod.clone()
    batch = make_batch()
    for name in ("new_mean", "new_log_variance"):
        batch[name] = batch[name].to(dtype)
    noisy, _, _, _ = prepare(batch, "cpu")
    assert noisy.dtype == prepare.noise_scheduler.alphas_cumprod.dtype == torch.float32
    assert torch.equal(prepare.noise_scheduler.alphas_cumprod, before)


def test_processes_draw_together_what_one_draws_alone():
    batch = make_batch(8, log_variance=-2.0)
    alone = make_prepare(seed=4)(batch, "cpu")
    for number in range(2):
        share = {name: value[number::2] for name, value in batch.items()}
        noisy, target, _, named = make_prepare(seed=4, process=number, processes=2)(share, "cpu")
        assert torch.equal(noisy, alone[0][number::2])
        assert torch.equal(target.target, alone[1].target[number::2])
        assert all(torch.equal(value, alone[3][name][number::2]) for name, value in named.items())


def test_an_evaluator_draws_the_same_noise_in_every_run():
    prepare, drawn = make_prepare(seed=1), []
    evaluator = Engine(lambda engine, batch: drawn.append(prepare(batch, "cpu")[0]))
    prepare.attach(evaluator)
    evaluator.run([make_batch()])
    evaluator.run([make_batch()])
    assert torch.equal(drawn[0], drawn[1])
