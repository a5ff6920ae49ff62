import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from biomedjourney_monai.configuration import compose
from biomedjourney_monai.errors import ConfigError, TableError, WeightsError
from biomedjourney_monai.files import file_hash, read_json, write_json
from biomedjourney_monai.networks.weights.model_file import save_tensors, weights_hash
from biomedjourney_monai.training.data.latents import LatentCache, LatentRow
from biomedjourney_monai.training.stages import StageSetup, run_stages

BUNDLE = Path(__file__).resolve().parents[2] / "bundle"


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """A latent cache and the autoencoder that made it, by the shipped configuration with random weights."""
    folder = tmp_path_factory.mktemp("encoded")
    torch.manual_seed(5)
    autoencoder = compose(BUNDLE / "configs" / "common.yaml").get_parsed_content("autoencoder")
    save_tensors(folder / "autoencoder.pt", autoencoder.state_dict(), info={})
    latents = np.zeros((1, 24, 16, 16), np.float16)
    LatentCache.write(
        folder / "latents",
        mean=latents,
        log_variance=latents,
        valid=np.ones((1, 16, 16), bool),
        text_states=np.zeros((1, 64, 128), np.float16),
        rows=[LatentRow("pretrain", "train", 0, -1, -1, 0)],
        encoding={
            "autoencoder": weights_hash(folder / "autoencoder.pt"),
            "scale_factor": 0.75,
            "dummy_prior": [0.0] * 24,
            "channel_weight": [1.0] * 24,
        },
    )
    return folder


def make_setup(encoded, **changes):
    settings = {
        "bundle_root": BUNDLE,
        "latents_dir": encoded / "latents",
        "autoencoder_file": encoded / "autoencoder.pt",
        "start_from": None,
        "text_encoder_dir": None,
        "seed": 0,
        "device": "cpu",
        "sections": {"autoencoder": {}, "denoiser": {}},
    }
    return StageSetup(**{**settings, **changes})


def test_the_stage_has_the_caches_autoencoder_and_scale_factor(encoded):
    setup = make_setup(encoded)
    state = torch.load(encoded / "autoencoder.pt", weights_only=True)["model"]
    assert all(torch.equal(value, state[name]) for name, value in setup.generator.autoencoder.state_dict().items())
    assert float(setup.denoiser.scale_factor) == setup.scale_factor == 0.75
    assert setup.noise_scheduler is setup.generator.sampler.noise_scheduler
    assert setup.channel_weight.shape == (24,)
    assert setup.null_text_states.shape == (1, 128, 128)
    facts = setup.parameters(stage="pretrain")
    assert (facts["stage"], facts["scale_factor"]) == ("pretrain", 0.75)
    assert facts["denoiser_parameters"] > 1e6


def test_the_model_file_is_told_the_size_that_the_cache_was_made_at_if_that_is_known(encoded, tmp_path):
    assert "image_size" not in make_setup(encoded).parameters()
    shutil.copytree(encoded / "latents", tmp_path / "latents")
    file = tmp_path / "latents" / "encoding.json"
    write_json(file, {**read_json(file, made_by="encode"), "image_size": 320})
    assert make_setup(encoded, latents_dir=tmp_path / "latents").parameters()["image_size"] == 320


def test_the_facts_name_the_views_of_the_films(encoded, tmp_path):
    shutil.copytree(encoded / "latents", tmp_path / "latents")
    assert "views" not in make_setup(encoded, latents_dir=tmp_path / "latents").parameters()
    pd.DataFrame({"view_position": ["AP", "PA", "AP"]}).to_parquet(tmp_path / "studies.parquet")
    assert make_setup(encoded, latents_dir=tmp_path / "latents").parameters()["views"] == ["PA", "AP"]


def test_the_seed_decides_the_random_weights(encoded):
    first, second, other = (make_setup(encoded, seed=seed).denoiser.text_projection.weight for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_stage_goes_on_from_the_stage_before(encoded, tmp_path):
    before = make_setup(encoded, seed=1)
    before.denoiser.scale_factor.fill_(0.5)  # as another cache would have had
    before.generator.save(tmp_path / "model.pt", half=False)
    after = make_setup(encoded, seed=2, start_from=tmp_path / "model.pt")
    assert torch.equal(after.denoiser.text_projection.weight, before.denoiser.text_projection.weight)
    assert float(after.denoiser.scale_factor) == 0.75


def test_a_stage_goes_on_with_another_text_encoder_only_if_told(encoded, tmp_path):
    before = make_setup(encoded, seed=1)
    before.generator.save(tmp_path / "model.pt", half=False)
    held = torch.load(tmp_path / "model.pt", weights_only=True)
    held["info"]["text_encoder"] = "0" * 64
    torch.save(held, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match="text encoder"):
        _ = make_setup(encoded, seed=2, start_from=tmp_path / "model.pt").denoiser
    after = make_setup(encoded, seed=2, start_from=tmp_path / "model.pt", new_text_encoder=True)
    assert torch.equal(after.denoiser.text_projection.weight, before.denoiser.text_projection.weight)
    after.generator.save(tmp_path / "after.pt")
    assert torch.load(tmp_path / "after.pt", weights_only=True)["info"]["text_encoder"] != "0" * 64


def test_a_stage_keeps_the_caches_autoencoder_though_the_model_before_has_another(encoded, tmp_path):
    before = make_setup(encoded, seed=1)
    with torch.no_grad():
        before.generator.autoencoder.decoder.linear.bias.add_(1)
    before.generator.save(tmp_path / "model.pt", half=False)
    after = make_setup(encoded, start_from=tmp_path / "model.pt")
    own = torch.load(encoded / "autoencoder.pt", weights_only=True)["model"]
    assert torch.equal(after.generator.autoencoder.decoder.linear.bias, own["decoder.linear.bias"])


def test_the_scale_factor_is_the_caches_the_start_models_or_a_given_one(encoded, tmp_path):
    before = make_setup(encoded, seed=1)
    before.denoiser.scale_factor.fill_(0.5)
    before.generator.save(tmp_path / "model.pt", half=False)
    after = make_setup(encoded, start_from=tmp_path / "model.pt", scale_factor="start")
    assert float(after.denoiser.scale_factor) == after.scale_factor == 0.5
    assert make_setup(encoded, scale_factor="start").scale_factor == 0.75  # random weights have none
    assert make_setup(encoded, start_from=tmp_path / "model.pt", scale_factor=0.25).scale_factor == 0.25
    for wrong in ("other", 0, -1.0):
        with pytest.raises(ConfigError, match="cache, start or a number above 0"):
            make_setup(encoded, scale_factor=wrong)


def test_a_mixture_of_caches_has_one_scale_factor(encoded, tmp_path):
    both = [encoded / "latents", with_encoding(encoded, tmp_path, scale_factor=0.5)]
    expected = (0.25 / 0.75**2 + 0.75 / 0.5**2) ** -0.5
    setup = make_setup(encoded, latents_dir=both, weights=[1, 3])
    assert float(setup.denoiser.scale_factor) == pytest.approx(expected)
    with pytest.raises(TableError, match="same autoencoder"):
        make_setup(encoded, latents_dir=[both[0], with_encoding(encoded, tmp_path / "other", autoencoder="0" * 64)])


def test_overrides_reach_the_networks_and_misspelt_ones_are_refused(encoded):
    sections = {"noise_scheduler": {"prediction_type": "v_prediction"}, "denoiser": {"prior_expectation": None}}
    setup = make_setup(encoded, sections=sections)
    assert setup.noise_scheduler.prediction_type == "v_prediction"
    with pytest.raises(ConfigError, match="prediction_type"):
        make_setup(encoded, sections={"noise_scheduler": {"predicton_type": "epsilon"}})


LIVE = {
    "cached": False,
    "image_size": 128,
    "augmentation": {"kind": "none", "reproduce_paper_flip": False, "seed": 0},
}
ALONE = {"prior_expectation": None}
RESIDUAL = {**ALONE, "residual_to_prior": True}
SCALED_LINEAR = {"schedule": "scaled_linear_beta", "prediction_type": "epsilon"}


@pytest.mark.parametrize(
    ("noise_scheduler", "denoiser", "reason"),
    [
        ({"prediction_type": "v_prediction"}, RESIDUAL, "residual_to_prior"),
        (SCALED_LINEAR, RESIDUAL, "residual_to_prior"),
        ({"prediction_type": "v_prediction"}, {}, "prior_expectation"),
        (SCALED_LINEAR, {}, "prior_expectation"),
        ({"prediction_type": "epsilon"}, ALONE, "schedule"),
        (SCALED_LINEAR, ALONE, None),
        ({"prediction_type": "v_prediction"}, ALONE, None),
        ({"prediction_type": "sample"}, RESIDUAL, None),
        ({"prediction_type": "sample"}, {}, None),
    ],
)
def test_what_no_network_could_learn_is_refused(encoded, noise_scheduler, denoiser, reason):
    setup = make_setup(encoded, sections={"noise_scheduler": noise_scheduler, "denoiser": denoiser})
    if reason is None:
        assert setup.generator is not None
    else:
        with pytest.raises(ConfigError, match=reason):
            _ = setup.generator


@pytest.fixture
def with_triples(encoded, tmp_path):
    """The same cache with triples whose new latent is 0.6 times the prior one, and noise."""
    generator = np.random.default_rng(0)
    prior = generator.normal(size=(40, 24, 16, 16))
    new = 0.6 * prior + 0.5 * generator.normal(size=prior.shape)
    means = np.concatenate([prior, new]).astype(np.float16)
    LatentCache.write(
        tmp_path / "latents",
        mean=means,
        log_variance=np.full_like(means, -9),
        valid=np.ones((1, 16, 16), bool),
        text_states=np.zeros((1, 64, 128), np.float16),
        rows=[LatentRow("finetune", "train", 40 + n, n, -1, 0) for n in range(40)],
        encoding=read_json(encoded / "latents" / "encoding.json", made_by="encode"),
    )
    return tmp_path / "latents"


def test_what_a_prior_tells_is_fitted_to_the_training_triples(encoded, with_triples):
    expectation = make_setup(encoded, latents_dir=with_triples).denoiser.prior_expectation
    assert torch.allclose(expectation.share, torch.tensor(0.6), atol=0.03)
    assert torch.allclose(expectation.spread, torch.tensor(0.75 * 0.5), atol=0.02)


def test_without_triples_the_whole_prior_is_assumed(encoded):
    assert torch.equal(make_setup(encoded).denoiser.prior_expectation.share, torch.ones(24))


def test_a_network_that_goes_on_keeps_the_expectation_it_has_learned_with(encoded, with_triples, tmp_path):
    before = make_setup(encoded)
    before.denoiser.prior_expectation.share.fill_(0.25)
    before.generator.save(tmp_path / "model.pt", half=False)
    after = make_setup(encoded, latents_dir=with_triples, start_from=tmp_path / "model.pt")
    assert torch.equal(after.denoiser.prior_expectation.share, torch.full((24,), 0.25))


def test_a_model_that_adds_the_prior_starts_anew_under_an_expectation(encoded, with_triples, tmp_path):
    before = make_setup(encoded, sections={"denoiser": RESIDUAL})
    torch.nn.init.normal_(before.denoiser.unet.out[2].conv.weight)
    before.generator.save(tmp_path / "model.pt", half=False)
    after = make_setup(encoded, latents_dir=with_triples, start_from=tmp_path / "model.pt").denoiser
    assert torch.equal(after.text_projection.weight, before.denoiser.text_projection.weight)
    assert torch.allclose(after.prior_expectation.share, torch.tensor(0.6), atol=0.03)
    spread = after.prior_expectation.spread[:, None, None, None]
    assert torch.allclose(after.unet.out[2].conv.weight * spread, before.denoiser.unet.out[2].conv.weight)


def test_a_cache_of_another_autoencoder_is_refused(encoded, tmp_path):
    save_tensors(tmp_path / "autoencoder.pt", {"a": torch.zeros(1)}, info={})
    with pytest.raises(WeightsError, match="biomedjourney encode"):
        make_setup(encoded, autoencoder_file=tmp_path / "autoencoder.pt").generator  # noqa: B018


def with_encoding(encoded, folder, **changes):
    """A copy of the cache whose encoding says something else too."""
    latents = Path(shutil.copytree(encoded / "latents", folder / "latents"))
    encoding = read_json(latents / "encoding.json", made_by="encode")
    write_json(latents / "encoding.json", encoding | changes)
    return latents


def test_a_cache_of_another_text_encoder_is_refused(encoded, tmp_path):
    latents = with_encoding(encoded, tmp_path, text_encoder="0" * 64)
    with pytest.raises(WeightsError, match=r"text encoder.*biomedjourney encode"):
        make_setup(encoded, latents_dir=latents).generator  # noqa: B018


@pytest.mark.parametrize("changed", ["triples.jsonl", "images/0.png"])
def test_a_stale_cache_is_refused(encoded, tmp_path, changed):
    (tmp_path / "images").mkdir()
    names = ["singles.jsonl", "triples.jsonl", "images/0.png", "images/gone.png"]
    for name in names:
        (tmp_path / name).write_text(name)
    latents = with_encoding(encoded, tmp_path, made_from={name: file_hash(tmp_path / name) for name in names})
    (tmp_path / "images" / "gone.png").unlink()  # a cache may travel without the images
    make_setup(encoded, latents_dir=latents)
    (tmp_path / changed).write_text("another")
    with pytest.raises(TableError, match=r"as it is now; found .*a changed triples|images that were.*encode` again"):
        make_setup(encoded, latents_dir=latents)


def test_a_stage_encodes_for_itself_only_where_nothing_is_cached(encoded, tmp_path):
    assert make_setup(encoded).encoders is None
    setup = make_setup(encoded, latents_dir=with_encoding(encoded, tmp_path, **LIVE))
    assert setup.encoders.autoencoder is setup.generator.autoencoder
    assert setup.encoders.text_encoder is setup.generator.text_encoder


def test_a_text_encoder_whose_work_is_done_takes_no_memory(encoded, tmp_path):
    expected = make_setup(encoded).generator.text_encoder.encode([""])
    setup = make_setup(encoded)
    assert torch.equal(setup.null_text_states, expected)
    assert all(parameter.is_meta for parameter in setup.generator.text_encoder.parameters())
    live = make_setup(encoded, latents_dir=with_encoding(encoded, tmp_path, **LIVE))
    assert torch.equal(live.null_text_states, expected)
    assert not any(parameter.is_meta for parameter in live.generator.text_encoder.parameters())


def test_without_a_cache_the_stage_says_what_to_run(encoded, tmp_path):
    with pytest.raises(TableError, match="biomedjourney encode"):
        make_setup(encoded, latents_dir=tmp_path)


def test_both_stages_need_monais_command_line():
    with pytest.raises(ConfigError, match="--config_file"):
        run_stages(["pretrain"], BUNDLE, arguments=["pytest"])


@pytest.fixture
def workflows(monkeypatch):
    """What would have been run, in order."""
    import monai.bundle

    made = []

    class Workflow:
        def __init__(self, **settings):
            made.append({**settings, "done": []})

        def initialize(self):
            made[-1]["done"].append("initialize")

        def run(self):
            made[-1]["done"].append("run")

        def finalize(self):
            made[-1]["done"].append("finalize")

    monkeypatch.setattr(monai.bundle, "ConfigWorkflow", Workflow)
    return made


def test_each_stage_is_a_run_of_its_own_with_all_overrides(workflows):
    line = "monai run training --config_file train.yaml --learning_rate 5e-4 --train#handlers#0=none"
    line += " -seed 4 --resume false"
    run_stages(["pretrain", "finetune"], "bundle", arguments=line.split())
    here = Path.cwd()  # one spelling for all, or MONAI takes them for files of several folders
    overlays = [
        [str(here / "train.yaml"), str(here / "bundle" / "configs" / f"{stage}.yaml")]
        for stage in ("pretrain", "finetune")
    ]
    assert [workflow["config_file"] for workflow in workflows] == overlays
    for workflow in workflows:
        assert workflow["run_id"] == "run"
        assert workflow["learning_rate"] == 5e-4
        assert workflow["seed"] == 4
        assert workflow["resume"] in (False, "false")
        assert workflow["train#handlers#0"] == "none"
        assert workflow["done"] == ["initialize", "run", "finalize"]
