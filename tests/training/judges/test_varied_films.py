import numpy as np
import torch

from biomedjourney_monai.training.judges.varied_films import draw_varied, vary


def test_films_and_outlines_are_reproducible_and_differ_from_each_other():
    films, outlines = draw_varied(3, seed=1, size=64)
    again, _ = draw_varied(3, seed=1, size=64)
    np.testing.assert_array_equal(films, again)
    assert films.shape == (3, 64, 64) and outlines.shape == (3, 3, 64, 64)
    assert np.abs(films[0].astype(int) - films[1]).mean() > 5
    for left, right, heart in outlines:
        assert np.nonzero(left)[1].mean() > 32 > np.nonzero(right)[1].mean() and heart.any()


def test_variations_move_masks_with_the_image_and_never_mirror():
    image = torch.full((32, 1, 64, 64), 0.2)
    image[:, :, 20:44, 38:58] = 0.8
    masks = (image > 0.5).float().expand(-1, 3, -1, -1).clone()
    masks[:, 1] = 0
    varied, moved = vary(image, masks, generator=torch.Generator().manual_seed(3))
    assert varied.shape == image.shape and varied.min() >= 0 and varied.max() <= 1
    assert set(moved.unique().tolist()) <= {0.0, 1.0}
    inside = torch.stack([v[m > 0].mean() - v[m == 0].mean() for v, m in zip(varied[:, 0], moved[:, 2]) if m.any()])
    assert inside.median() > 0.15
    columns = torch.stack([m.sum(dim=0).argmax() for m in moved[:, 2] if m.sum() > 200])
    assert (columns > 30).float().mean() > 0.8


def test_the_same_generator_gives_the_same_variation():
    image, masks = torch.rand(2, 1, 64, 64), torch.ones(2, 3, 64, 64)
    one, other = (vary(image, masks, generator=torch.Generator().manual_seed(5))[0] for _ in range(2))
    assert torch.equal(one, other)
