import json
from dataclasses import replace
from pathlib import Path

import pytest

from biomedjourney_monai.evaluation.ablation.grid import Variant, read_ablation
from biomedjourney_monai.evaluation.ablation.plan import Plan

BUNDLE = Path(__file__).resolve().parents[3] / "bundle"


@pytest.fixture
def ablation():
    return read_ablation(BUNDLE / "configs" / "ablation.yaml", bundle=BUNDLE)


@pytest.fixture
def plan(ablation, tmp_path):
    return Plan(ablation, ablation.cells, tmp_path, bundle=BUNDLE, image_size=128)


def _value(step, option):
    return step.command[list(step.command).index(option) + 1]


def test_cells_share_what_they_have_in_common(plan):
    kinds = [step.name.split("-")[0] for step in plan.steps()]
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    assert counts == {
        "phantom": 1,
        "cohort": 1,
        "journeys": 1,
        "register": 2,
        "describe": 4,
        "encode": 4,
        "pretrain": 1,
        "finetune": 8,
        "sample": 8,
        "evaluate": 8,
    }


def test_each_step_comes_after_those_that_it_needs(plan):
    seen = set()
    for step in plan.steps():
        assert set(step.needs) <= seen, step.name
        seen.add(step.name)


def test_budgets_are_equal_in_the_commands_themselves(plan, ablation):
    steps = {step.name: step for step in plan.steps()}
    first = int(_value(steps["pretrain-small"], "--pretrain_epochs"))
    for cell in ablation.cells:
        train = steps[f"finetune-{cell.name}"]
        epochs = int(_value(train, "--finetune_epochs")) + (first if cell.stages == 2 else 0)
        assert epochs * int(_value(train, "--epoch_length")) == 1200
        assert ("--start_from" in train.command) == (cell.stages == 2)
        assert _value(train, "--batch_size") == "32"


def test_cells_differ_in_their_switches_alone(plan, ablation):
    steps = {step.name: step for step in plan.steps()}
    for cell in ablation.cells:
        train, sample = steps[f"finetune-{cell.name}"], steps[f"sample-{cell.name}"]
        latents = Path(_value(train, "--dataset_dir")).name
        how = "registered" if cell.registration else "unregistered"
        assert latents == f"{how}-{cell.text}-small"
        assert _value(steps[f"describe-{how}-{cell.text}"], "--text") == cell.text
        pairs = next(target for place, target in sample.links.items() if place.name == "pairs.parquet")
        assert pairs == plan.pairs_file(), "all cells are scored on the same registered pairs"
        assert pairs.parent.name == "registered"
    assert "--transform" in steps["register-unregistered"].command
    assert "--transform" not in steps["register-registered"].command


def test_a_cell_alone_needs_only_its_own_way(plan, ablation):
    cell = next(cell for cell in ablation.cells if cell.name == "impression-unregistered-1stage-small")
    names = [step.name for step in plan.for_cells([cell]).steps()]
    assert [name for name in names if name in plan.own_steps(cell)] == plan.own_steps(cell)
    assert names[-1] == plan.last_step(cell)
    assert not any("pretrain" in name or "progression" in name for name in names)


def test_a_source_is_read_and_not_rendered(ablation, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "metadata.csv").write_text("x")
    ablation = replace(ablation, source=tmp_path / "source")
    steps = Plan(ablation, ablation.cells, tmp_path / "out", bundle=BUNDLE, image_size=128).steps()
    assert steps[0].name == "cohort"
    assert steps[0].reads == [tmp_path / "source" / "metadata.csv"]


@pytest.fixture
def variants(ablation, tmp_path):
    """The shipped grid once without a variant and once with one that changes networks and training."""
    ablation = replace(
        ablation,
        cells=tuple(replace(cell, variant=name) for name in ("none", "v") for cell in ablation.cells),
        networks={"denoiser": {"channels": [64, 96, 96], "num_res_blocks": 2}},
        variants={"v": Variant({"denoiser": {"num_res_blocks": 3}}, {"learning_rate": 0.5, "batch_size": 8})},
    )
    return Plan(ablation, ablation.cells, tmp_path, bundle=BUNDLE, image_size=128)


def test_without_variants_nothing_is_done_anew(plan, variants):
    mine = {step.name: list(step.command) for step in plan.steps()}
    theirs = {step.name: list(step.command) for step in variants.steps()}
    assert {name: theirs[name] for name in mine} == mine
    assert plan._overlay(plan.ablation.cells[0], stages=1).name == "small-1stage.json"


def test_variants_share_data_and_have_networks_of_their_own(variants, tmp_path):
    steps = {step.name: step for step in variants.steps()}
    extra = {name for name in steps if name.endswith("-v")}
    assert {name.split("-")[0] for name in extra} == {"pretrain", "finetune", "sample", "evaluate"}
    assert len(extra) == 1 + 3 * 8
    name = "progression-registered-2stage-small"
    plain, other = steps[f"finetune-{name}"], steps[f"finetune-{name}-v"]
    assert _value(other, "--dataset_dir") == _value(plain, "--dataset_dir")
    assert _value(other, "--output_dir") == str(tmp_path / "cells" / f"{name}-v" / "runs")
    assert _value(other, "--start_from") == str(tmp_path / "pretrained" / "small-v" / "pretrain" / "model.pt")
    assert set(other.needs) == {"encode-registered-progression-small", "pretrain-small-v"}
    assert _value(steps["pretrain-small-v"], "--output_dir") == str(tmp_path / "pretrained" / "small-v")
    assert variants.training_steps(variants.cells[-1]) == ["pretrain-small-v", f"finetune-{name}-v"]


def test_a_variants_networks_and_settings_lie_over_the_ablations(variants):
    steps = {step.name: step for step in variants.steps()}
    overlays = {}
    for cell in variants.cells:
        overlay = Path(_value(steps[f"sample-{cell.name}"], "--overlay"))
        overlays[cell.variant] = json.loads(overlay.read_text())["denoiser"]
        train = steps[f"finetune-{cell.name}"]
        assert str(overlay) in _value(train, "--config_file"), "trained as it is sampled"
        assert _value(train, "--batch_size") == ("8" if cell.variant == "v" else "32")
        assert ("--learning_rate" in train.command) == (cell.variant == "v")
    assert overlays["none"] == {"channels": [64, 96, 96], "num_res_blocks": 2}
    assert overlays["v"] == {"channels": [64, 96, 96], "num_res_blocks": 3}


@pytest.fixture
def latents(ablation, tmp_path):
    """The shipped grid with one text encoder more, once without a variant and once with an autoencoder of its own."""
    encoders = ablation.text_encoders | {"other": ablation.text_encoders["small"]}
    ablation = replace(
        ablation,
        cells=tuple(
            replace(cell, variant=variant, text_encoder=name)
            for variant in ("none", "fine")
            for name in encoders
            for cell in ablation.cells
        ),
        text_encoders=encoders,
        networks={"autoencoder": {"blocks": 1}},
        model=tmp_path / "given.pt",
        variants={"fine": Variant({"autoencoder": {"patch": 4, "latent_channels": 6}})},
    )
    return Plan(ablation, ablation.cells, tmp_path, bundle=BUNDLE, image_size=128)


def test_a_variant_that_changes_the_autoencoder_has_latents_of_its_own(latents, tmp_path):
    steps = {step.name: step for step in latents.steps()}
    trained = steps["autoencoder-fine"]
    assert [name for name in steps if name.startswith("autoencoder")] == ["autoencoder-fine"], "one for both encoders"
    assert _value(trained, "--max_epochs") == "6"
    overlay = _value(trained, "--config_file").strip("[]'").split("','")[1]
    assert json.loads(Path(overlay).read_text()) == {"autoencoder": {"blocks": 1, "patch": 4, "latent_channels": 6}}
    weights = tmp_path / "autoencoders" / "fine" / "autoencoder.pt"
    assert weights in trained.makes
    for cell in latents.cells:
        train = steps[f"finetune-{cell.name}"]
        folder = Path(_value(train, "--dataset_dir"))
        encode = steps[f"encode-{folder.name}"]
        assert folder.name.endswith("-fine") == (cell.variant == "fine")
        assert encode.links.get(folder / "runs" / "autoencoder.pt") == (weights if cell.variant == "fine" else None)
        assert ("autoencoder-fine" in encode.needs) == (cell.variant == "fine")


def test_an_ablation_that_changes_the_autoencoder_trains_it_unless_it_is_given(ablation, tmp_path):
    changed = replace(ablation, networks={"autoencoder": {"patch": 16}})
    given = replace(changed, model=tmp_path / "given.pt")
    trains, takes = (
        Plan(asked, ablation.cells, tmp_path, bundle=BUNDLE, image_size=128).steps() for asked in (changed, given)
    )
    assert "autoencoder-none" in [step.name for step in trains]
    assert "autoencoder-none" not in [step.name for step in takes]
    encodes = [step for step in trains if step.kind == "encode"]
    assert len(encodes) == 4 and all("autoencoder-none" in step.needs for step in encodes)
