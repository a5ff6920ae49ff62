import pytest
import torch

from biomedjourney_monai.evaluation.judges import panel as judge_panel
from biomedjourney_monai.evaluation.judges.loading import load_judges
from biomedjourney_monai.evaluation.judges.panel import JudgePanel


@pytest.fixture(scope="module")
def panel(models):
    return JudgePanel.from_folder(models)


@pytest.fixture
def images():
    return [torch.rand((3, 1, 32, 32), generator=torch.Generator().manual_seed(seed)) for seed in range(3)]


def _everywhere():
    return torch.ones((3, 1, 32, 32), dtype=torch.bool)


def test_the_panel_says_what_the_judges_say(panel, models, images):
    verdict = panel(*images, _everywhere())
    scored, reference, prior = (load_judges(models).score(batch) for batch in images)
    torch.testing.assert_close(verdict.columns, scored.as_columns())
    torch.testing.assert_close(verdict.reference_pathology, reference.pathology)
    assert torch.equal(verdict.to_reference[1], reference.structures)
    assert torch.equal(verdict.to_prior[1], prior.structures)


@pytest.mark.parametrize("place, columns, to_reference, to_prior", [(0, 0, 0, 0), (1, 1, 0, 1), (2, 1, 1, 0)])
def test_an_unreadable_image_is_left_out_where_it_counts(panel, images, place, columns, to_reference, to_prior):
    images[place][1] = torch.nan
    verdict = panel(*images, _everywhere())
    assert bool(torch.isfinite(verdict.columns[1]).all()) == bool(columns)
    assert bool(verdict.to_reference[0][1].any() or verdict.to_reference[1][1].any()) == bool(to_reference)
    assert bool(verdict.to_prior[0][1].any() or verdict.to_prior[1][1].any()) == bool(to_prior)
    assert torch.isfinite(verdict.columns[[0, 2]]).all()


def test_only_where_the_reference_has_content_counts(panel, images):
    valid = _everywhere()
    valid[..., :16] = False
    verdict = panel(*images, valid)
    assert not any(masks[..., :16].any() for masks in verdict.to_reference)
    assert verdict.to_prior[0][..., :16].any()


def test_handlers_get_their_columns(panel, images):
    label = torch.arange(36.0).reshape(3, 12)
    output = {"pred": panel(*images, _everywhere()), "label": label}
    columns = output["pred"].columns
    assert torch.equal(judge_panel.pathology(output)[1], label[:, :5])
    assert torch.equal(judge_panel.changed_pathology(output)[1], label[:, 5:10])
    assert torch.equal(judge_panel.race(output)[0], columns[:, 5:8])
    assert torch.equal(judge_panel.race(output)[1], label[:, 10])
    assert torch.equal(judge_panel.age(output)[0], columns[:, 8])
    assert torch.equal(judge_panel.everything(output)[1], label[:, [0, 1, 2, 3, 4, 10, 11]])
