"""How a variant is laid over a ablation, and that the shipped ones are what their names say."""

from pathlib import Path

import pytest
import torch

from biomedjourney_monai.configuration import compose
from biomedjourney_monai.evaluation.ablation.grid import read_ablation
from biomedjourney_monai.evaluation.ablation.variants import lay_over
from biomedjourney_monai.training.prepare_batch import DiffusionPrepareBatch, WeightedLatentLoss

BUNDLE = Path(__file__).resolve().parents[3] / "bundle"
SHIPPED = BUNDLE / "configs" / "ablation_networks.yaml"
TOKENS = 4


def test_a_key_wins_over_the_ablations_and_leaves_its_neighbours():
    base = {"denoiser": {"channels": [1], "norm_eps": 0.1}, "sampler": {"steps": 5}}
    laid = lay_over(base, {"denoiser": {"norm_eps": None}, "noise_scheduler": {"schedule": "cosine"}})
    assert laid == {
        "denoiser": {"channels": [1], "norm_eps": None},
        "sampler": {"steps": 5},
        "noise_scheduler": {"schedule": "cosine"},
    }
    assert base["denoiser"]["norm_eps"] == 0.1


def test_another_class_replaces_the_section():
    laid = lay_over({"denoiser": {"channels": [1]}}, {"denoiser": {"_class_": "x.Y", "width": 2}})
    assert laid == {"denoiser": {"_class_": "x.Y", "width": 2}}


@pytest.fixture(scope="module")
def shipped():
    return read_ablation(SHIPPED, bundle=BUNDLE)


def _parser(ablation, name):
    changes = lay_over(ablation.networks, ablation.variants[name].networks)
    return compose(BUNDLE / "configs" / "common.yaml", changes | {"bundle_root": str(BUNDLE)})


def test_every_shipped_variant_has_a_cell_and_differs_from_the_plain_one(shipped):
    assert [cell.variant for cell in shipped.cells] == list(shipped.variants)
    differing = [(variant.networks, variant.settings) for variant in shipped.variants.values()]
    assert differing[0] == ({}, {})
    assert all(differing.count(entry) == 1 for entry in differing)


@pytest.mark.parametrize(
    "name", ["plain", "residual", "alone", "v", "epsilon", "fast", "slow", "wide", "deep", "factor4"]
)
def test_every_shipped_variant_takes_a_training_step(shipped, name):
    torch.manual_seed(0)
    parser = _parser(shipped, name)
    denoiser, schedule = (parser.get_parsed_content(part) for part in ("denoiser", "noise_scheduler"))
    width = denoiser.geometry["text_width"]
    channels = parser.get("autoencoder#latent_channels")
    side = parser.get("image_size") // parser.get("autoencoder#patch")
    prepare = DiffusionPrepareBatch(
        schedule, scale_factor=1.0, null_text_states=torch.zeros(1, TOKENS, width), min_snr_gamma=5.0
    )
    batch = {key: torch.randn(2, channels, side, side) for key in ("new_mean", "new_log_variance", "prior_latent")}
    batch |= {"text_states": torch.randn(2, TOKENS, width), "valid": torch.ones(2, 1, side, side)}
    noisy, target, _, inputs = prepare(batch)
    before = denoiser.text_projection.weight.detach().clone()
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=1e-3)
    loss = WeightedLatentLoss()(denoiser(noisy, **inputs), target)
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    assert all(parameter.isfinite().all() for parameter in denoiser.parameters())
    assert not torch.equal(denoiser.text_projection.weight, before)


def test_the_prior_is_added_to_a_predicted_clean_latent_alone(shipped):
    for name in shipped.variants:
        parser = _parser(shipped, name)
        if parser.get("denoiser#prior_expectation") or parser.get("denoiser#residual_to_prior"):
            assert parser.get("noise_scheduler#prediction_type") == "sample", name


def test_a_schedule_for_predicted_noise_leaves_a_signal_at_its_end(shipped):
    """The first step of a sampling divides by it: errors of the noise grow by its inverse."""
    schedules = [_parser(shipped, name).get_parsed_content("noise_scheduler") for name in shipped.variants]
    ends = [schedule.alphas_cumprod[-1].sqrt() for schedule in schedules if schedule.prediction_type == "epsilon"]
    assert len(ends) == 1 and ends[0] > 0.05
