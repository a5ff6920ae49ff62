from collections import Counter

import numpy as np
import pytest

from biomedjourney_monai.phantom.anatomy import draw_anatomy
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.onto import KINDS, add_findings, draw_case, move_structures, place_chest
from biomedjourney_monai.phantom.physics import draw_acquisition
from biomedjourney_monai.phantom.render import lung_fields, render
from biomedjourney_monai.schema import FINDINGS

SIZE = 96


@pytest.fixture(scope="module")
def film():
    anatomy, acquisition = draw_anatomy(3, sex="M", age=50, group=0), draw_acquisition(4)
    drawing = render(anatomy, acquisition, FindingState(), size=SIZE, with_masks=True)
    fields = lung_fields(anatomy, acquisition, FindingState(), size=SIZE)
    outlines = np.concatenate([fields, drawing.masks[2:3]]).astype(bool)
    return drawing.image, outlines, place_chest(drawing.image, outlines, seed=5), (anatomy, acquisition)


def test_a_film_without_findings_stays_exactly_as_it_is(film):
    image, _, chest, _ = film
    np.testing.assert_array_equal(add_findings(image, chest, FindingState()), image)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("finding", "sign"), [("effusion", 1), ("pneumothorax", -1)])
def test_fluid_brightens_and_air_darkens_the_named_side_alone(film, side, finding, sign):
    image, outlines, chest, _ = film
    changes = [add_findings(image, chest, FindingState(**{f"{finding}_{side}": n})) - image for n in (1, 2, 3)]
    own, other = (outlines[0], outlines[1]) if side == "left" else (outlines[1], outlines[0])
    amounts = [sign * change[own].sum() for change in changes]
    assert 0 < amounts[0] < amounts[1] < amounts[2]
    assert all(np.abs(change[other]).max() < 1e-6 for change in changes)


def test_fluid_collects_at_the_base_and_free_air_at_the_apex(film):
    image, outlines, chest, _ = film
    rows = np.flatnonzero(outlines[0].any(axis=1))
    upper, lower = outlines[0].copy(), outlines[0].copy()
    upper[rows.mean().astype(int) :] = lower[: rows.mean().astype(int)] = False
    fluid = add_findings(image, chest, FindingState(effusion_left=1)) - image
    air = image - add_findings(image, chest, FindingState(pneumothorax_left=1))
    assert fluid[lower].sum() > 5 * abs(fluid[upper].sum())
    assert air[upper].sum() > 1.2 * air[lower].sum()


@pytest.mark.parametrize(
    "state", [{"effusion_right": 2}, {"pneumothorax_left": 3}, {"edema": 3}, {"cardiomegaly": 3}], ids=str
)
def test_the_change_resembles_the_renderers_own(film, state):
    image, _, chest, (anatomy, acquisition) = film
    truth = render(anatomy, acquisition, FindingState(**state), size=SIZE).image - image
    change = add_findings(image, chest, FindingState(**state)) - image
    assert np.corrcoef(truth.ravel(), change.ravel())[0, 1] > 0.6
    assert np.square(truth - change).mean() < 0.7 * np.square(truth).mean()


def test_edema_changes_both_lungs_and_rises_with_severity(film):
    image, outlines, chest, _ = film
    changes = [add_findings(image, chest, FindingState(edema=n)) - image for n in (1, 2, 3)]
    for field in outlines[:2]:
        assert 0 < changes[0][field].mean() < changes[1][field].mean() < changes[2][field].mean()


def test_empty_or_swapped_lung_fields_are_refused(film):
    image, outlines, _, _ = film
    with pytest.raises(ValueError, match="found an empty one"):
        place_chest(image, np.zeros_like(outlines), seed=1)
    with pytest.raises(ValueError, match="found it at image left"):
        place_chest(image, outlines[[1, 0, 2]], seed=1)


SHAPE_SIZE = 96
ROWS, COLUMNS = np.indices((SHAPE_SIZE, SHAPE_SIZE))


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


@pytest.fixture(scope="module")
def cases():
    rng = np.random.default_rng(1)
    return [draw_case(rng, FINDINGS) for _ in range(2000)]


def worst(state, finding):
    return state.severity(finding)


def test_kinds_occur_as_often_as_stated(cases):
    share = Counter("graded" if case.kind in ("worse", "better") else case.kind for case in cases)
    for kind, chance in KINDS.items():
        assert abs(share[kind] / len(cases) - chance) < 0.04


def test_the_named_finding_changes_as_its_kind_says_and_nothing_else_does(cases):
    for case in cases:
        changed = [
            name
            for name in FINDINGS
            if any(case.prior.as_dict()[key] != case.new.as_dict()[key] for key in keys_of(name))
        ]
        assert changed == ([] if case.kind == "same" else [case.finding])
        if case.finding:
            before, after = worst(case.prior, case.finding), worst(case.new, case.finding)
            expected = {
                "new": before == 0 < after,
                "resolved": before > 0 == after,
                "worse": 0 < before < after,
                "better": before > after > 0,
                "same": before == after > 0,
            }
            assert expected[case.kind]


def keys_of(finding):
    name = finding.lower().replace("pleural ", "")
    return [key for key in FindingState().as_dict() if key.startswith(name)]


def test_only_findings_that_the_film_does_not_show_are_rendered(cases):
    rng = np.random.default_rng(2)
    for _ in range(200):
        case = draw_case(rng, ["Edema"])
        assert case.finding in ("", "Edema")
        assert case.prior.labels()["Pneumothorax"] == case.new.labels()["Pneumothorax"] == 0
    with pytest.raises(ValueError, match="found none"):
        draw_case(rng, [])


def test_both_sides_occur_alike(cases):
    sides = Counter(side for case in cases for side in ("left", "right") if case.new.severity("Pleural Effusion", side))
    assert 0.8 < sides["left"] / sides["right"] < 1.25


def test_the_same_seed_draws_the_same_case():
    assert draw_case(np.random.default_rng(3), FINDINGS) == draw_case(np.random.default_rng(3), FINDINGS)
