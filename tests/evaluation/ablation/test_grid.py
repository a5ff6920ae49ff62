from pathlib import Path

import pytest
import yaml

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.evaluation.ablation.grid import Cell, choose_cells, read_ablation

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
