"""The shipped configuration with random weights, and a small working folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

SIZE = 128


def draw_radiograph(seed: int = 0, *, height: int = SIZE, width: int = SIZE) -> np.ndarray:
    """Two dark lungs in a bright chest, uint8, shape (height, width)."""
    rows, columns = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    lungs = sum(np.exp(-(((columns - x) / 0.16) ** 2 + ((rows - 0.5) / 0.3) ** 2)) for x in (0.3, 0.7))
    noise = np.random.default_rng(seed).normal(0, 3, (height, width))
    return np.clip(220 - 180 * lungs + noise, 0, 255).astype(np.uint8)


@pytest.fixture(autouse=True)
def _loaded_once(loaded_once) -> None:
    """Commands in one process load the same weights once."""


@pytest.fixture
def prepared(tmp_path, write_prepared) -> Path:
    """A working folder as `describe` leaves it: four single images, three journeys."""
    valid = np.full((SIZE, SIZE), 255, np.uint8)
    valid[:, :5] = 0
    return write_prepared(
        tmp_path / "work",
        [draw_radiograph(index) for index in range(4)],
        splits=["train"] * 4,
        impressions=["Finding 0.", "Finding 1.", "Finding 2.", ""],
        journeys=[(0, 1, "train"), (1, 2, "test"), (2, 3, "test")],
        description="New small left pleural effusion.",
        valid=valid,
    )
