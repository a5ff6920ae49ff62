"""A patient and a visit that several tests of the renderer share."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest

from biomedjourney_monai.phantom.anatomy import draw_anatomy
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.physics import draw_acquisition
from biomedjourney_monai.phantom.render import Rendering, render


@pytest.fixture(scope="session")
def rendered() -> Callable[..., Rendering]:
    """Return a function (patient, size, view_position, **severities) → Rendering with masks, remembered."""

    @lru_cache(maxsize=256)
    def draw(patient: int = 0, *, size: int = 128, view_position: str = "PA", **severities: int) -> Rendering:
        anatomy = draw_anatomy(patient, sex="FM"[patient % 2], age=35 + 9 * (patient % 6), group=patient % 3)
        acquisition = draw_acquisition(100 + patient, view_position=view_position)
        result = render(anatomy, acquisition, FindingState(**severities), size=size, with_masks=True)
        assert result.masks is not None
        result.image.setflags(write=False)
        result.masks.setflags(write=False)
        assert result.image.dtype == np.float32
        return result

    return draw
