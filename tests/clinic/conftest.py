"""What these tests share."""

import pytest


@pytest.fixture(autouse=True)
def _loaded_once(loaded_once) -> None:
    """Services in one process load the same weights once."""
