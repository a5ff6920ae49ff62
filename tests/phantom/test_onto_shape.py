import numpy as np
import pytest

from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.onto import place_chest
from biomedjourney_monai.phantom.onto_shape import move_structures

SIZE = 96
ROWS, COLUMNS = np.indices((SIZE, SIZE))


@pytest.fixture
def chest():
    """Two upright lungs, and a heart that reaches further to the patient's left."""
    left = (COLUMNS > 52) & (COLUMNS < 82) & (ROWS > 12) & (ROWS < 72)
    right = (COLUMNS > 12) & (COLUMNS < 42) & (ROWS > 12) & (ROWS < 72)
    heart = np.square((COLUMNS - 50) / 14) + np.square((ROWS - 58) / 14) < 1
    image = np.where((left | right) & ~heart, 0.2, 0.7).astype(np.float32)
    return image, heart, place_chest(image, np.stack([left, right, heart]), seed=1)


def widths(image):
    row = image[58]
    dense = np.flatnonzero(row[20:76] > 0.45) + 20
    return 48 - dense.min(), dense.max() - 48


def test_an_enlarged_heart_grows_with_severity_and_mostly_to_the_left(chest):
    image, heart, placed = chest
    grown = [
        move_structures(image, placed.visit.axes, placed.lungs, heart, FindingState(cardiomegaly=n)) for n in range(4)
    ]
    rights, lefts = zip(*(widths(film) for film in grown))
    assert list(lefts) == sorted(set(lefts)) and lefts[3] > 1.3 * lefts[0]
    assert lefts[3] - lefts[0] > rights[3] - rights[0] >= 1
    np.testing.assert_array_equal(grown[0], image)


def test_the_chest_wall_and_the_apices_stay(chest):
    image, heart, placed = chest
    grown = move_structures(image, placed.visit.axes, placed.lungs, heart, FindingState(cardiomegaly=3))
    np.testing.assert_array_equal(grown[:30], image[:30])
    np.testing.assert_array_equal(grown[:, 84:], image[:, 84:])


@pytest.mark.parametrize("side", ["left", "right"])
def test_atelectasis_raises_the_diaphragm_of_its_side(chest, side):
    image, heart, placed = chest
    raised = move_structures(image, placed.visit.axes, placed.lungs, heart, FindingState(**{f"atelectasis_{side}": 3}))
    own, other = (75, 20) if side == "left" else (20, 75)
    assert np.argmax(raised[40:, own] > 0.45) < np.argmax(image[40:, own] > 0.45) - 3
    np.testing.assert_array_equal(raised[:, other], image[:, other])
    np.testing.assert_array_equal(raised[-1], image[-1])


def test_without_a_heart_nothing_is_enlarged(chest):
    image, heart, placed = chest
    state = FindingState(cardiomegaly=3)
    assert move_structures(image, placed.visit.axes, placed.lungs, heart & False, state) is image
