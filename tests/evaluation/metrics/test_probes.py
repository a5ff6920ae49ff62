import pytest
import torch
from monai.metrics import MultiScaleSSIMMetric

from biomedjourney_monai.evaluation.metrics.probes import mean_ms_ssim


@pytest.mark.parametrize("size, window", [(128, 7), (176, 11)])
def test_ms_ssim_is_monais(size, window):
    generator = torch.Generator().manual_seed(0)
    samples = [torch.rand((2, 1, size, size), generator=generator) for _ in range(3)]
    metric = MultiScaleSSIMMetric(spatial_dims=2, kernel_size=window, reduction="none")
    pairs = [metric(samples[i], samples[j]).flatten() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert mean_ms_ssim(samples) == pytest.approx(torch.stack(pairs).mean(dim=0).numpy(), abs=1e-5)
