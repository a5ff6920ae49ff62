from pathlib import Path

import pytest
import torch
import yaml

from biomedjourney_monai.configuration import compose
from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.evaluation.ablation.grid import Cell, choose_cells, lay_over, read_ablation
from biomedjourney_monai.training.prepare_batch import DiffusionPrepareBatch, WeightedLatentLoss

BUNDLE = Path(__file__).resolve().parents[3] / "bundle"
SHIPPED = BUNDLE / "configs" / "ablation.yaml"


@pytest.fixture
def changed(tmp_path):
    """Writes the shipped ablation with sections changed, and reads it."""

    def build(**sections):
        path = tmp_path / "ablation.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(SHIPPED.read_text()) | sections))
        return read_ablation(path, bundle=BUNDLE)

    return build


def test_the_shipped_ablation_is_table_2_eight_cells():
    cells = read_ablation(SHIPPED, bundle=BUNDLE).cells
    assert len(cells) == len({cell.name for cell in cells}) == 8
    assert {(cell.text, cell.registration, cell.stages) for cell in cells} == {
        (text, registration, stages)
        for text in ("impression", "progression")
        for registration in (False, True)
        for stages in (1, 2)
    }


def test_further_cells_come_after_the_grid_and_doubles_are_one(changed):
    tower = str(BUNDLE / "models" / "text_tower")
    extra = {"text": "progression", "registration": True, "stages": 2, "text_encoder": "other"}
    ablation = changed(also=[extra, {**extra, "text_encoder": "small"}], text_encoders={"small": tower, "other": tower})
    assert len(ablation.cells) == 9
    assert ablation.cells[-1].name == "progression-registered-2stage-other"


def test_every_cell_has_the_same_budget():
    ablation = read_ablation(SHIPPED, bundle=BUNDLE)
    spent = {cell: sum(ablation.training.epochs(cell)) * ablation.training.epoch_length for cell in ablation.cells}
    assert set(spent.values()) == {1200}
    assert ablation.training.epochs(Cell("impression", True, 1, "small")) == (0, 12)
    assert ablation.training.epochs(Cell("impression", True, 2, "small")) == (3, 9)


def _training(**changes):
    return {"iterations": 1200, "pretrain_iterations": 300, "epoch_length": 100, "settings": {}} | changes


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"gird": {}}, "Did you mean --grid"),
        ({"grid": {"text": ["impression"], "registration": [True], "stages": [1]}}, "grid must have text_encoder"),
        ({"grid": {"text": [], "registration": [True], "stages": [1], "text_encoder": ["small"]}}, "must have a cell"),
        ({"also": [{"text": "x", "registration": True, "stages": 1, "text_encoder": "small"}]}, "text must be one of"),
        (
            {"also": [{"text": "impression", "registration": 1, "stages": 1, "text_encoder": "small"}]},
            "registration must be one of False, True; found 1",
        ),
        ({"text_encoders": {"small": "models/none"}}, "text_encoders.small must be a folder"),
        ({"training": _training(pretrain_iterations=1200)}, "0 < pretrain_iterations < iterations"),
        ({"training": _training(autoencoder_epochs=0)}, "autoencoder_epochs must be >= 1; found 0"),
        ({"training": _training(epoch_length=70)}, "multiples of epoch_length"),
        ({"training": _training(settings={"finetune_epochs": 50})}, "must leave finetune_epochs to the ablation"),
        ({"training": _training(settings={"output_dir": "/x"})}, "must leave output_dir to the ablation"),
        ({"training": _training(settings={"bath_size": 8})}, "Did you mean --batch_size"),
        ({"training": {"iterations": 1}}, "training must give iterations, pretrain_iterations and epoch_length"),
        ({"arguments": {"train": ["--x"]}}, "name a key"),
    ],
)
def test_what_is_wrong_is_named_before_anything_runs(changed, sections, message):
    with pytest.raises(ConfigError, match=message):
        changed(**sections)


@pytest.mark.parametrize("content", ["- a list", "a: [", "\x00"])
def test_a_file_that_is_no_ablation_is_refused(tmp_path, content):
    (tmp_path / "ablation.yaml").write_text(content)
    with pytest.raises(ConfigError):
        read_ablation(tmp_path / "ablation.yaml", bundle=BUNDLE)


def test_a_source_is_found_from_the_settings_file(changed, tmp_path):
    assert changed(source="mimic").source == tmp_path.resolve() / "mimic"
    assert "mimic" not in str(changed(source="mimic").as_record()), "a folder's name may tell of a hospital"


def test_cells_are_chosen_by_name(changed):
    ablation = changed()
    assert [cell.stages for cell in choose_cells(ablation, ["progression-registered-2stage-small"])] == [2]
    assert choose_cells(ablation, []) == ablation.cells
    with pytest.raises(ConfigError, match="progression-registered-2stage-small"):
        choose_cells(ablation, ["progression"])


GRID = {"text": ["progression"], "registration": [True], "stages": [1], "text_encoder": ["small"]}


def _with_variants(variant=("none", "v"), **variants):
    return {"grid": {**GRID, "variant": list(variant)}, "variants": {"v": {}} | variants}


def test_variants_are_an_axis_and_none_of_them_has_no_suffix(changed):
    row = {"text": "impression", "registration": True, "stages": 1, "text_encoder": "small"}
    ablation = changed(**_with_variants(), also=[row, {**row, "variant": "v"}])
    assert [cell.name for cell in ablation.cells] == [
        "progression-registered-1stage-small",
        "progression-registered-1stage-small-v",
        "impression-registered-1stage-small",
        "impression-registered-1stage-small-v",
    ]
    assert ablation.as_record()["variants"] == {"v": {"networks": {}, "settings": {}}}
    assert "variants" not in changed().as_record()


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (_with_variants(v={"network": {}}), "Did you mean --networks"),
        (_with_variants(v={"networks": {"denoser": {}}}), "Did you mean --denoiser"),
        (_with_variants(v={"networks": {"denoiser": {"chanels": [64]}}}), "Did you mean --denoiser#channels"),
        (
            _with_variants(v={"networks": {"text_encoder": {"folder": "x"}}}),
            "same images and texts; found text_encoder",
        ),
        (_with_variants(v={"networks": {"image_size": 256}}), "share the same images and texts; found image_size"),
        (_with_variants(v={"networks": {"denoiser": 3}}), "variants.v.networks.denoiser must hold settings by name"),
        (_with_variants(v={"settings": {"learning_rat": 1}}), "Did you mean --learning_rate"),
        (_with_variants(v={"settings": {"seed": 1}}), "variants.v.settings must leave seed to the ablation"),
        (_with_variants(v={"settings": {"start_from": "x"}}), "variants.v.settings must leave start_from"),
        (_with_variants(v={"settings": {"denoiser": {}}}), "must leave denoiser to variants.v.networks"),
        (_with_variants(["w"]), "variant must be one of none, v; found w"),
        (_with_variants(["none"]), "variants must have a cell"),
        (_with_variants(none={}), "a variant's name must be of"),
        ({"variants": {"../v": {}}}, "a variant's name must be of"),
    ],
)
def test_a_wrong_variant_is_refused(changed, sections, message):
    with pytest.raises(ConfigError, match=message):
        changed(**sections)


def test_names_that_would_share_a_folder_are_refused(changed):
    tower = str(BUNDLE / "models" / "text_tower")
    sections = _with_variants()
    sections["grid"]["text_encoder"] = ["small", "small-v"]
    with pytest.raises(ConfigError, match="differ when joined; found small-v twice"):
        changed(**sections, text_encoders={"small": tower, "small-v": tower})


VARIANTS = BUNDLE / "configs" / "ablation_networks.yaml"
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
    return read_ablation(VARIANTS, bundle=BUNDLE)


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
