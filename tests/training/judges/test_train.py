import numpy as np
import pytest
import torch

from biomedjourney_monai.evaluation.judges.phantom import PhantomJudges
from biomedjourney_monai.phantom.labelled import LabelledImages
from biomedjourney_monai.radiographs import load_radiograph, save_png
from biomedjourney_monai.training.judges.train import (
    mark_judges,
    normalise,
    train_classifier,
    train_segmenter,
)


@pytest.fixture(scope="module")
def data():
    """Images in which a bright square tells the findings, and its place the anatomy."""
    generator = np.random.default_rng(0)
    rows = 40
    images = generator.integers(0, 60, (rows, 64, 64), dtype=np.uint8)
    labels = np.tile((np.arange(rows) % 2)[:, None], (1, 5))
    masks = np.zeros((rows, 6, 64, 64), bool)
    masks[:, :, 16:48, 8:40] = True
    images[:, 16:48, 8:40] += (60 + 120 * labels[:, 0]).astype(np.uint8)[:, None, None]
    age, sex = generator.normal(60, 15, rows), np.full(rows, "F")
    return LabelledImages(images, labels, np.arange(rows) % 3, age, sex, masks, reports=[""] * rows)


def test_classifier_learns_what_is_there(data):
    classifier = train_classifier(data, steps=25, seed=1)
    with torch.inference_mode():
        findings, groups, age = classifier(normalise(data.images) * 2 - 1)
    assert findings.shape == (40, 5)
    assert groups.shape == (40, 3)
    assert age.shape == (40,)
    assert findings[1::2].mean() > findings[::2].mean() + 1


def test_segmenter_learns_what_is_there(data):
    segmenter = train_segmenter(data, steps=30, seed=1)
    with torch.inference_mode():
        logits = segmenter(normalise(data.images) * 2 - 1)
    inside = torch.as_tensor(data.masks)
    assert logits[inside].mean() > logits[~inside].mean() + 0.5


def test_same_seed_gives_the_same_weights(data):
    one, two = (train_classifier(data, steps=2, seed=5).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_training_leaves_the_global_generator_alone(data):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    train_classifier(data, steps=1, seed=5)
    assert torch.equal(torch.rand(1), expected)


def test_normalise_is_what_load_radiograph_does(data, tmp_path):
    save_png(tmp_path / "image.png", data.images[3])
    np.testing.assert_allclose(
        normalise(data.images[3:4])[0, 0], load_radiograph(tmp_path / "image.png", size=64), atol=1e-6
    )


def test_marks_name_every_finding_group_and_structure(data):
    judges = PhantomJudges(train_classifier(data, steps=2, seed=1), train_segmenter(data, steps=2, seed=1))
    marks = mark_judges(judges, data)
    assert {"auroc Edema", "auroc of findings", "auroc group Asian", "age r", "dice spine", "dice"} <= set(marks)
    assert all(isinstance(value, float) for value in marks.values())
