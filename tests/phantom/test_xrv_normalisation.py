"""The renderings pass the normalisation that real judges put before their networks."""

from __future__ import annotations

import warnings

import numpy as np
import pytest


@pytest.mark.slow
def test_xrv_normalises_a_rendering_without_a_warning(rendered, capsys):
    xrv = pytest.importorskip("torchxrayvision")
    image = np.round(rendered(1, size=256, edema=1).image * 255)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        normalised = xrv.datasets.normalize(image, 255)
    assert normalised.min() >= -1024
    assert normalised.max() <= 1024
    assert np.ptp(normalised) > 1500
    assert capsys.readouterr().out == ""
