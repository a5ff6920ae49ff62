"""The model object: one path from a request to a picture, shared by threads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from biomedjourney_monai.diffusion.settings import SamplingSettings
from biomedjourney_monai.errors import ConfigError, ImageError, SettingError, WeightsError
from biomedjourney_monai.generation.description_check import DescriptionError
from biomedjourney_monai.generation.model import CounterfactualModel, build_generator, load_model
from biomedjourney_monai.generation.request import Request
from biomedjourney_monai.model_config import ModelConfig
from biomedjourney_monai.networks.distilled import Distilled
from biomedjourney_monai.radiographs import mark_synthetic

TEXT = "New large left pleural effusion."
FAST = SamplingSettings(steps=2)


@pytest.fixture(scope="module")
def model(bundle, random_model):
    return load_model(random_model, bundle=bundle, settings=FAST)


def test_an_array_and_its_file_give_the_same_picture(model, chest):
    from_file = model.generate(chest, TEXT, seed=3)
    pixels = np.asarray(Image.open(chest))
    from_array = model.generate(pixels, TEXT, seed=3)
    assert np.array_equal(from_file.squares, from_array.squares)
    assert from_file.images.shape == (1, *pixels.shape)
    assert from_file.documents == from_array.documents


def test_samples_have_the_seeds_that_follow(model, chest):
    several = model.generate(chest, TEXT, seed=3, samples=2)
    assert several.seeds == (3, 4)
    assert np.allclose(several.squares[1], model.generate(chest, TEXT, seed=4).squares[0], atol=1e-5)
    assert several.metadata["seed"] == "3-4" and several.metadata["samples"] == 2


def test_requests_together_give_what_each_gives_alone(model, chest):
    requests = [model.check(Request(chest, text, seed=seed)) for seed, text in enumerate((TEXT, "New edema."))]
    together = model.run_together(requests)
    for checked, result in zip(requests, together, strict=True):
        assert np.allclose(model.run(checked).squares, result.squares, atol=1e-5)
        assert result.documents == model.documents(checked)


def test_two_threads_may_use_one_model(bundle, random_model, chest):
    model = load_model(random_model, bundle=bundle, settings=FAST)
    texts = [TEXT, "New mild cardiomegaly.", "New edema."] * 2
    start = threading.Barrier(2)

    def first_together(text):
        start.wait(timeout=60)
        return model.generate(chest, text, seed=1).squares

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(first_together, texts[:2])) + list(
            pool.map(lambda text: model.generate(chest, text, seed=1).squares, texts[2:])
        )
    for text, squares in zip(texts, found, strict=True):
        assert np.array_equal(squares, model.generate(chest, text, seed=1).squares)


def test_other_settings_share_the_weights_and_change_nothing_on_the_model(model, chest):
    before = model.generate(chest, TEXT).squares
    other = model.with_settings(SamplingSettings(steps=3, strength=0.5))
    assert other.generator is model.generator
    assert not np.array_equal(other.generate(chest, TEXT).squares, before)
    assert other.provenance()["strength"] == 0.5 and "strength" not in model.provenance()
    assert np.array_equal(model.generate(chest, TEXT).squares, before)


def test_a_mask_confines_the_change(model, chest):
    pixels = np.asarray(Image.open(chest))
    mask = np.zeros(pixels.shape, bool)
    mask[60:120, 80:140] = True
    result = model.with_settings(SamplingSettings(steps=2, keep_unchanged=0.0)).generate(chest, TEXT, region=mask)
    changed = np.abs(result.squares[0] - result.prior.image) > 0
    assert changed.any() and not changed[result.region == 0].any()
    assert result.metadata["region"].startswith("mask ")
    with pytest.raises(ImageError, match="height and width"):
        model.generate(chest, TEXT, region=mask[:50])


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"prior": 3}, "prior must be a path or an array; found int"),
        ({"description": None}, "description must be a text; found NoneType"),
        ({"seed": "1"}, "seed must be an integer; found str"),
        ({"seed": -1}, "seed must be a non-negative"),
        ({"samples": 0}, "samples must be >= 1; found 0"),
        ({"samples": 1.5}, "samples must be an integer; found float"),
        ({"region": 5}, "region must be None"),
        ({"sead": 1}, "Did you mean seed?"),
        ({"quality": 1}, "Pass one of"),
    ],
)
def test_a_wrong_argument_is_named(model, chest, arguments, name):
    given = {"prior": chest, "description": TEXT, **arguments}
    with pytest.raises(SettingError) as raised:
        model.generate(given.pop("prior"), given.pop("description"), **given)
    assert name in str(raised.value)


def test_refusals_have_reason_codes(model, chest, tmp_path):
    Image.open(chest).rotate(180).save(tmp_path / "turned.png")
    with pytest.raises(ImageError) as raised:
        model.generate(tmp_path / "turned.png", TEXT)
    assert raised.value.reason == "rotated"
    assert model.generate(tmp_path / "turned.png", TEXT, force=True).metadata["overruled"] == "rotated"
    with pytest.raises(DescriptionError) as refused:
        model.generate(chest, "   ")
    assert refused.value.reason == "empty_description"
    with pytest.raises(ImageError, match="finite"):
        model.generate(np.full((200, 200), np.nan), TEXT)
    marked = mark_synthetic(np.zeros((200, 200), np.float32))
    with pytest.raises(ImageError):
        model.generate(marked, TEXT)


def test_a_missing_model_is_refused_when_it_is_loaded(bundle, tmp_path):
    model = CounterfactualModel(ModelConfig.find(bundle, tmp_path / "nowhere.pt"))
    with pytest.raises(WeightsError):
        _ = model.generator
    with pytest.raises(ConfigError, match="bundle folder"):
        load_model(bundle=tmp_path)


def test_what_cannot_be_drawn_leaves_the_prior_alone_and_together(model, chest):
    request = Request(chest, "New rib fracture.", seed=3, samples=2)
    checked = model.check(request)
    result, (alone,) = model.run(checked), model.run_together([checked])
    for square in (*result.squares, *alone.squares):
        assert np.array_equal(square, checked.prior.image)
    assert [document["drawn"] for document in result.documents] == ["nothing"] * 2
    assert "prompt" not in result.documents[0] and result.effect_warnings == ()
    assert any("stays the prior's" in warning and "cannot_draw" in warning for warning in result.warnings)
    as_it_is = model.check(Request(chest, "New rib fracture.", verbatim=True))
    assert not as_it_is.draws_nothing, "a model of free text may draw it"


def test_a_reviewer_looks_at_every_result(bundle, random_model, chest):
    seen = []

    def review(checked, squares):
        seen.append((checked.description, squares.shape))
        return ("looked at (code)",)

    model = CounterfactualModel(ModelConfig.find(bundle, random_model), FAST, reviewer=review)
    checked = [model.check(Request(chest, text, samples=2)) for text in (TEXT, "New edema.")]
    assert "looked at (code)" in model.run(checked[0]).effect_warnings
    assert all("looked at (code)" in result.warnings for result in model.run_together(checked))
    assert seen == [(TEXT, (2, 128, 128)), (TEXT, (1, 128, 128)), ("New edema.", (1, 128, 128))]


def test_only_a_result_in_doubt_is_drawn_again(model, chest, monkeypatch):
    drawn = []

    def draw(priors, texts, seeds, **controls):
        drawn.append((texts, seeds))
        return SimpleNamespace(images=torch.from_numpy(priors + np.float32(change))[:, None], region=None)

    monkeypatch.setattr(model, "draw", draw)
    checked = model.check(Request(chest, TEXT, seed=7))
    change = 0.2
    assert model.run(checked).effect_warnings == () and drawn == [([TEXT], (7,))]
    change = 0.0
    (warning,) = model.run(checked).effect_warnings
    assert "nothing_changed" in warning and drawn[-1] == (["Unchanged."], (7,))
    unchanged = model.check(Request(chest, "Mild cardiomegaly is unchanged."))
    assert model.run(unchanged).effect_warnings == ()


def test_a_student_brings_its_own_settings_and_what_is_asked_for_wins(bundle):
    file = bundle / "models" / "student.pt"
    own = Distilled.in_file(file).sampling
    assert own.keys() == {"steps", "text_guidance_scale", "image_guidance_scale", "keep_unchanged"}
    generator, asked = ModelConfig.find(weights="student.pt").load_generator(), {"steps": 1, "keep_unchanged": 0.0}
    assert {name: getattr(generator.sampler, name) for name in own} == own
    loaded = ModelConfig.find(weights="student.pt").load_generator(**asked)
    built = build_generator(bundle, weights=file, sampler=asked)
    for one in (loaded, built):
        assert {name: getattr(one.sampler, name) for name in own} == {**own, **asked}
