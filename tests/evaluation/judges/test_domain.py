import numpy as np
import pytest
import torch

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.evaluation.judges.domain import FeatureDomain, judge_for, nearest_judges
from biomedjourney_monai.evaluation.judges.loading import load_judges


class ByGrey:
    """Judges that were trained on images of one mean grey."""

    def __init__(self, name, grey, width=0.1, tells_apart=False):
        self.name, self.grey, self.width, self.tells_apart = name, grey, width, tells_apart

    def distance(self, images):
        return (images.mean(dim=(1, 2, 3)) - self.grey).abs() / self.width


JUDGES = {"dark": ByGrey("dark", 0.2), "bright": ByGrey("bright", 0.7)}


def grey(value, count=1):
    return torch.full((count, 1, 8, 8), value)


def test_most_of_other_images_of_the_domain_are_inside_and_others_are_not():
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([1.0, 5.0, 0.2])
    draw = lambda count: torch.randn((count, 3), generator=generator) * scale + 4  # noqa: E731
    domain = FeatureDomain.fitted(draw(2000), draw(1000))
    assert (domain(draw(1000)) <= 1).float().mean() > 0.98
    assert (domain(draw(100) + torch.tensor([20.0, 0.0, 0.0])) > 1).all()


def test_a_domain_survives_saving():
    features = torch.randn((50, 4), generator=torch.Generator().manual_seed(0))
    domain, again = FeatureDomain.fitted(features, features), FeatureDomain(4)
    again.load_state_dict(domain.state_dict())
    torch.testing.assert_close(again(features), domain(features))


def test_the_judges_that_know_a_picture_are_taken():
    assert judge_for(JUDGES, np.full((8, 8), 0.25, np.float32)) is JUDGES["dark"]
    assert judge_for(JUDGES, np.full((8, 8), 0.65, np.float32)) is JUDGES["bright"]


def test_no_judges_are_taken_for_a_picture_that_none_knows():
    assert judge_for(JUDGES, np.full((8, 8), 0.45, np.float32)) is None
    assert judge_for({}, np.full((8, 8), 0.45, np.float32)) is None


def test_judges_that_tell_their_images_apart_come_first():
    judges = {**JUDGES, "films": ByGrey("films", 0.28, tells_apart=True)}
    assert judge_for(judges, np.full((8, 8), 0.21, np.float32)) is judges["films"], "though the others are nearer"
    assert judge_for(judges, np.full((8, 8), 0.15, np.float32)) is judges["dark"]


def test_a_domain_learns_to_tell_rendered_images_from_films():
    generator = torch.Generator().manual_seed(0)
    films, rendered = (torch.randn((600, 6), generator=generator) for _ in range(2))
    rendered[:, 2] = 0.2 * rendered[:, 2] + 1.5  # well within the films' spread
    domain = FeatureDomain.fitted(films[:300], films[300:])
    assert (domain(rendered) <= 1).float().mean() > 0.9
    domain.tell_apart(films[:300], rendered[:300])
    assert (domain(rendered[300:]) <= 1).float().mean() < 0.2
    assert (domain(films[300:]) <= 1).float().mean() > 0.8


def test_several_pictures_choose_by_their_median():
    fit = nearest_judges(JUDGES, torch.cat([grey(0.2, 7), grey(0.7, 3)]))
    assert fit.judges is JUDGES["dark"]
    assert fit.inside
    assert not nearest_judges(JUDGES, grey(1.0)).inside


def test_judges_without_a_domain_cannot_tell_a_distance(models):
    with pytest.raises(WeightsError, match="domain"):
        load_judges(models).distance(torch.rand(1, 1, 32, 32))
