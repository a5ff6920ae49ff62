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
