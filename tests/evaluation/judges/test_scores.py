import torch

from biomedjourney_monai.evaluation.judges.feature_bank import extract_known
from biomedjourney_monai.evaluation.judges.loading import load_judges
from biomedjourney_monai.evaluation.judges.scores import equal_groups, score_safely


def test_every_image_is_in_one_group_and_all_groups_are_of_one_size():
    images = torch.arange(11.0)[:, None, None, None].expand(-1, 1, 2, 2)
    groups = list(equal_groups(images, size=4))
    assert [len(group) for _, group in groups] == [4, 4, 4]
    seen = torch.cat([group[: places.stop - places.start] for places, group in groups])
    assert torch.equal(seen, images)
    assert groups[-1][1][:, 0, 0, 0].tolist() == [8, 9, 10, 10]


def test_no_image_is_no_group():
    assert list(equal_groups(torch.zeros((0, 1, 2, 2)))) == []


class RecordsSizes:
    """The judges, and the size of each batch that they were shown."""

    def __init__(self, judges):
        self.judges, self.sizes = judges, set()

    def score(self, images):
        self.sizes.add(len(images))
        return self.judges.score(images)

    def features(self, images):
        self.sizes.add(len(images))
        return self.judges.features(images)


def test_judges_see_batches_of_one_size_and_say_the_same_as_of_all_images_together(models):
    judges = RecordsSizes(load_judges(models))
    images = torch.rand((19, 1, 32, 32), generator=torch.Generator().manual_seed(0))
    for count in (19, 3, 8):
        scores, faults = score_safely(judges, images[:count])
        assert faults == {}
        torch.testing.assert_close(scores, judges.judges.score(images[:count]), rtol=1e-4, atol=1e-4, equal_nan=True)
        features = extract_known(judges.features, images[:count], torch.ones(count, dtype=torch.bool).numpy())
        torch.testing.assert_close(torch.from_numpy(features), judges.judges.features(images[:count]))
    assert len(judges.sizes) == 1
