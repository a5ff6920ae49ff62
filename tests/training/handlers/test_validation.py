import pytest
import torch
from ignite.exceptions import NotComputableError

from biomedjourney_monai.training.handlers.validation import LossByTimestep
from biomedjourney_monai.training.prepare_batch import WeightedLatentLoss, WeightedTarget


def make_output(timesteps, errors):
    """Predictions that miss a zero target by `errors`, everywhere alike."""
    errors = torch.tensor(errors)[:, None, None, None].expand(-1, 2, 3, 3)
    return errors, WeightedTarget(torch.zeros_like(errors), torch.ones(len(errors), 1, 3, 3), torch.tensor(timesteps))


def test_each_example_counts_in_its_own_band():
    metric = LossByTimestep(bands=4, timesteps=1000)
    metric.update(make_output([0, 249, 250, 999], [1.0, 2.0, 3.0, 4.0]))
    metric.update(make_output([100], [3.0]))
    assert metric.compute() == {
        "val_loss_0_249": pytest.approx((1 + 4 + 9) / 3),
        "val_loss_250_499": 9.0,
        "val_loss_750_999": 16.0,
    }


def test_one_band_is_the_loss_itself():
    prediction, target = make_output([1, 5, 7], [0.5, 1.5, 2.5])
    metric = LossByTimestep(bands=1, timesteps=10)
    metric.update((prediction, target))
    assert metric.compute()["val_loss_0_9"] == pytest.approx(float(WeightedLatentLoss()(prediction, target)))


def test_nothing_seen_is_not_zero():
    with pytest.raises(NotComputableError):
        LossByTimestep().compute()


@pytest.mark.parametrize("bands", [0, 11])
def test_impossible_bands_are_refused(bands):
    with pytest.raises(ValueError, match=f"found {bands}"):
        LossByTimestep(bands=bands, timesteps=10)
