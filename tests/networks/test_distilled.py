from dataclasses import replace

import pytest
import torch

from biomedjourney_monai.errors import ConfigError, SettingError
from biomedjourney_monai.networks.distilled import Distilled, ScaleEmbedding

STUDENT = Distilled(steps=(2, 1, 4), text_guidance_scale=(1, 5), image_guidance_scale=(1, 3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 3}, "steps must be one of 1, 2, 4 for this student of few steps; found 3"),
        ({"text_guidance_scale": 5.1}, r"text_guidance_scale must be in \[1, 5\]"),
        ({"image_guidance_scale": 0.9}, r"image_guidance_scale must be in \[1, 3\]"),
        ({"solver": "unipc"}, "solver must be ddim"),
        ({"guidance_interval": (0.0, 0.5)}, "guidance_interval must be 0 1"),
        ({"init_noise": "from-prior"}, "init_noise must be random"),
    ],
)
def test_a_setting_that_it_was_not_trained_for_is_named(settings, message):
    with pytest.raises(SettingError, match=message):
        STUDENT.check(settings)


def test_what_it_was_trained_for_passes():
    STUDENT.check({})
    STUDENT.check({"steps": 4, "text_guidance_scale": 1, "image_guidance_scale": 3.0, "guidance_interval": [0.0, 1.0]})
    STUDENT.check({"steps": None, "strength": 0.5, "solver": "ddim", "keep_unchanged": 0.03})


def test_its_defaults_are_facts_and_settings_of_sampling():
    assert "defaults" not in STUDENT.facts() and Distilled(**STUDENT.facts()) == STUDENT
    assert STUDENT.sampling == {"steps": 2}
    own = replace(STUDENT, defaults={"text_guidance_scale": 5.0, "keep_unchanged": 0.05})
    assert Distilled(**own.facts()) == own
    assert own.sampling == {"steps": 2, "text_guidance_scale": 5.0, "keep_unchanged": 0.05}


@pytest.mark.parametrize("wrong", [{"strength": 0.5}, {"text_guidance_scale": 6.0}, {"keep_unchanged": -0.1}])
def test_a_default_that_is_none_is_refused(wrong):
    with pytest.raises(ConfigError, match="distilled#defaults must be some of text_guidance_scale"):
        replace(STUDENT, defaults=wrong)


@pytest.mark.parametrize("wrong", [{"steps": []}, {"steps": [0]}, {"text_guidance_scale": [3, 3]}])
def test_an_empty_range_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"distilled#"):
        Distilled(**{**STUDENT.facts(), **wrong})


def test_the_embedding_starts_at_zero_and_learns_both_scales():
    embedding = ScaleEmbedding(STUDENT, 8)
    scales = torch.tensor([[1.0, 1.0], [5.0, 1.0], [1.0, 3.0]])
    assert not embedding(scales).any()
    torch.nn.init.normal_(embedding.map[2].weight)
    first, text, image = embedding(scales)
    assert not torch.allclose(first, text) and not torch.allclose(first, image)


def test_numbers_and_tensors_give_the_same_input():
    one = STUDENT.scales(2, text_scale=3.0, image_scale=2.0)
    assert one.tolist() == [[3.0, 2.0], [3.0, 2.0]]
    text, image = (torch.full((2, 1, 1, 1), value) for value in (3.0, 2.0))
    assert torch.equal(one, STUDENT.scales(2, text_scale=text, image_scale=image))


def test_a_missing_file_holds_no_student(tmp_path):
    assert Distilled.in_file(tmp_path / "none.pt") is None
