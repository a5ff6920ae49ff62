"""Every key of train.yaml that reference/training-settings.md explains reaches what it is said to change."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine
from monai.bundle import ConfigParser
from monai.networks.schedulers import DDPMScheduler

CONFIGS = Path(__file__).parents[2] / "bundle" / "configs"
PAGE = CONFIGS.parent / "docs" / "reference" / "training-settings.md"
PARTS = {"settings", "network_def", "averaged", "process", "processes", "first_process"}
"""Keys at the top that are components or say what is so, not settings."""
SECTIONS = ("autoencoder", "denoiser", "noise_scheduler", "text_encoder")


def settings_of(content):
    """Keys at the top that hold a plain value, or an expression of others; not lists and components."""
    plain = {key for key, value in content.items() if not isinstance(value, (dict, list))}
    runs = {key for key, value in content.items() if isinstance(value, str) and value.startswith("%")}
    return (plain | set(SECTIONS)) - PARTS - runs


def documented():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line.split("|")[1] for line in lines if line.startswith("| `")]
    return {key for row in rows for key in re.findall(r"`([a-z_]+)`", row)}


def test_the_page_explains_every_key():
    assert documented() == settings_of(ConfigParser.load_config_file(str(CONFIGS / "train.yaml")))


class Setup:
    """Stands in for `StageSetup`: a network of one layer instead of all networks."""

    def __init__(self):
        self.denoiser = torch.nn.Linear(2, 2)
        self.noise_scheduler = DDPMScheduler(num_train_timesteps=100, schedule="cosine", prediction_type="sample")
        self.generator = SimpleNamespace(save=lambda *a, **k: None, sampler=None, autoencoder=None)
        self.scale_factor, self.channel_weight = 0.9, torch.ones(24)
        self.null_text_states, self.encoders, self.changes = torch.zeros(1, 64, 128), None, {}
        self.parser = SimpleNamespace(get_parsed_content=lambda name: "tower", get=lambda name: 128)

    def parameters(self, **settings):
        return settings


@pytest.fixture
def read(latent_work, tmp_path):
    """The part at an address, built with overrides; `stage_setup#…` are the arguments of `StageSetup` themselves."""

    def part(address, *files, **changes):
        content = ConfigParser.load_config_files([str(CONFIGS / name) for name in ("train.yaml", *files)])
        parser = ConfigParser(content)
        parser["bundle_root"] = str(CONFIGS.parent)
        parser["dataset_dir"] = str(latent_work)
        parser["output_dir"] = str(tmp_path)
        for key, value in changes.items():
            parser[key.replace("__", "#")] = value
        if not address.startswith("stage_setup"):
            parser["stage_setup"] = Setup()
        parser.parse()
        return parser.get_parsed_content(address)

    return part


def handler(name):
    """The place of a handler in the list."""
    handlers = ConfigParser.load_config_file(str(CONFIGS / "train.yaml"))["train"]["handlers"]
    (place,) = [index for index, part in enumerate(handlers) if part["_target_"].endswith(name)]
    return f"train#handlers#{place}"


def rate_after(scheduler, steps):
    for _ in range(steps):
        scheduler.optimizer.step()
        scheduler.step()
    return scheduler.get_last_lr()[0]


def saves(checkpoint, *, iterations):
    """At which of so many iterations, four to an epoch, the checkpoint is saved."""
    seen = []
    checkpoint.resume, checkpoint.save = False, lambda engine: seen.append(engine.state.iteration)
    engine = Engine(lambda engine, batch: None)
    checkpoint.attach(engine)
    engine.run([0] * 4, max_epochs=iterations // 4)
    return sorted(set(seen))


PROBES = {
    # key: (value, address, what is looked at)
    "bundle_root": ("/elsewhere", "stage_setup#bundle_root", str),
    "dataset_dir": ("/elsewhere", "train#dataset#folder", str),
    "weights": ([1.0], "stage_setup#weights", str),
    "changed_share": (0.5, "train#order", lambda order: next(iter(order))),
    "identity_share": (0.5, "train#order", lambda order: next(iter(order))),
    "scale_factor": ("start", "stage_setup#scale_factor", str),
    "output_dir": ("/elsewhere", "export#path", str),
    "device": (torch.device("meta"), "train#trainer#device", str),
    "seed": (5, "train#order", lambda order: next(iter(order))),
    "run_name": ("another", f"{handler('StageTracker')}#run_name", str),
    "resume": (False, "checkpoint", lambda checkpoint: checkpoint.resume),
    "stage": ("pretrain", "train#dataset", lambda dataset: [row.stage for row in dataset.rows]),
    "start_from": ("other.pt", "stage_setup#start_from", str),
    "new_text_encoder": (True, "stage_setup#new_text_encoder", str),
    "autoencoder_file": ("other.pt", "stage_setup#autoencoder_file", str),
    "finetune_epochs": (7, "train#trainer#max_epochs", int),
    "max_epochs": (7, "lr_scheduler", lambda scheduler: scheduler.t_total),
    "epoch_length": (7, "lr_scheduler", lambda scheduler: scheduler.t_total),
    "batch_size": (3, "train#order", lambda order: len(next(iter(order)))),
    "accumulate": (3, "train#trainer#accumulation_steps", int),
    "learning_rate": (0.5, "optimizer", lambda optimizer: optimizer.param_groups[0]["lr"]),
    "warmup_iterations": (9, "lr_scheduler", lambda scheduler: rate_after(scheduler, 3)),
    "lr_cycles": (0.0, "lr_scheduler", lambda scheduler: rate_after(scheduler, 51)),
    "weight_decay": (0.5, "optimizer", lambda optimizer: optimizer.param_groups[0]["weight_decay"]),
    "gradient_clip": (0.5, handler("ClipGradients"), lambda clip: clip.max_norm),
    "min_snr_gamma": (None, "train#prepare_batch", lambda prepare: prepare.min_snr_gamma),
    "weigh_channels": (False, "train#prepare_batch", lambda prepare: prepare.channel_weight is None),
    "drop_text": (0.5, "train#prepare_batch", lambda prepare: prepare.drop_text),
    "drop_image": (0.5, "train#prepare_batch", lambda prepare: prepare.drop_image),
    "drop_both": (0.5, "train#prepare_batch", lambda prepare: prepare.drop_both),
    "ema_momentum": (1.0, "averaged", type),
    "precision": ("float16", "train#inferer", lambda inferer: inferer.dtype),
    "num_workers": (2, "train#dataloader", lambda loader: loader.num_workers),
    "reproduce_paper_flip": (True, "train#dataset#reproduce_paper_flip", bool),
    "val_interval": (5, f"{handler('ValidationHandler')}#interval", int),
    "preview_iterations": (5, handler("PreviewGrid"), lambda grid: grid.every),
    "score_epochs": (5, "score_samples", lambda score: score.every_epochs),
    "score_journeys": (5, "score_samples", lambda score: score.count),
    "judges_dir": ("/elsewhere", "score_samples#score#judges_dir", str),
    "keep": ("best", "export", lambda export: export.keep),
    "patience": (5, "score_samples", lambda score: score.patience),
    "checkpoint_epochs": (2, "checkpoint", lambda checkpoint: saves(checkpoint, iterations=16)),
    "checkpoint_iterations": (3, "checkpoint", lambda checkpoint: saves(checkpoint, iterations=16)),
    "log_iterations": (5, handler("SharedLoss"), lambda loss: loss.every),
    "register_as": ("other", f"{handler('StageTracker')}#register", lambda register: register.name),
    "autoencoder": ({"blocks": 1}, "stage_setup#sections#autoencoder", dict),
    "denoiser": ({"num_res_blocks": 2}, "stage_setup#sections#denoiser", dict),
    "noise_scheduler": ({"schedule": "linear_beta"}, "stage_setup#sections#noise_scheduler", dict),
    "text_encoder": ({"folder": "elsewhere"}, "stage_setup#sections#text_encoder", dict),
    "text_encoder_dir": ("/elsewhere", "stage_setup#text_encoder_dir", str),
    "image_size": (64, f"{handler('StageTracker')}#register", lambda register: register.image_size),
}


def test_every_documented_key_has_its_probe():
    assert set(PROBES) | {"pretrain_epochs", "states_per_example"} == documented()


@pytest.mark.parametrize("key", PROBES)
def test_the_key_changes_something(key, read):
    value, address, look = PROBES[key]
    assert look(read(address, **{key: value})) != look(read(address))


def test_the_states_of_an_example_divide_the_batch_of_a_gpus_preset(read):
    batches = [read("batch_size", "sd15.yaml", "gpu.yaml", states_per_example=number) for number in (1, 4)]
    assert batches == [8, 2]


def test_the_epochs_of_pretraining_change_its_end(read):
    ends = [read("train#trainer#max_epochs", "pretrain.yaml", pretrain_epochs=number) for number in (3, 5)]
    assert ends == [3, 5]


def test_a_section_changes_the_network_that_is_built(latent_work):
    """What `StageSetup` does with its sections, `autoencoder`'s and `text_encoder`'s included."""
    from biomedjourney_monai.configuration import compose

    def build(**sections):
        return compose(CONFIGS / "common.yaml", {"bundle_root": str(CONFIGS.parent), **sections})

    plain = build().get_parsed_content("autoencoder")
    assert len(plain.state_dict()) > len(
        build(autoencoder={"blocks": 1}).get_parsed_content("autoencoder").state_dict()
    )
    scheduler = build(noise_scheduler={"schedule": "linear_beta"}).get_parsed_content("noise_scheduler")
    assert not torch.equal(scheduler.alphas_cumprod, build().get_parsed_content("noise_scheduler").alphas_cumprod)
