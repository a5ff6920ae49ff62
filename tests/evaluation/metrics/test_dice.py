import pytest
import torch
from monai.metrics import compute_dice
from sklearn.metrics import f1_score

from biomedjourney_monai.evaluation.metrics.dice import compute_structure_dice


def _masks(seed):
    return torch.rand((3, 6, 16, 16), generator=torch.Generator().manual_seed(seed)) > 0.6


def test_hand_worked_value():
    one, two = torch.zeros((1, 1, 2, 2)), torch.zeros((1, 1, 2, 2))
    one[0, 0, 0] = 1  # two pixels
    two[0, 0, 0, 0] = 1  # one of them
    assert compute_structure_dice(one, two).item() == pytest.approx(2 / 3)


def test_agrees_with_monai_and_scikit_learn():
    ours = compute_structure_dice(_masks(1), _masks(2))
    torch.testing.assert_close(ours, compute_dice(_masks(1).float(), _masks(2).float(), include_background=True))
    assert ours[1, 3].item() == pytest.approx(f1_score(_masks(2)[1, 3].flatten(), _masks(1)[1, 3].flatten()))


def test_only_valid_pixels_count():
    valid = torch.zeros((3, 1, 16, 16), dtype=torch.bool)
    valid[..., :8] = True
    expected = compute_structure_dice(_masks(1)[..., :8], _masks(2)[..., :8])
    torch.testing.assert_close(compute_structure_dice(_masks(1), _masks(2), valid=valid), expected)


def test_structure_in_neither_image_is_nan():
    assert compute_structure_dice(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)).isnan().all()


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        compute_structure_dice(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 5))
