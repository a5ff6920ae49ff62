"""A rendering: values, masks, sides, counterfactuals, severity."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.phantom.anatomy import draw_anatomy
from biomedjourney_monai.phantom.chest import Visit
from biomedjourney_monai.phantom.findings import Devices, FindingState
from biomedjourney_monai.phantom.physics import axes_of, draw_acquisition
from biomedjourney_monai.phantom.render import draw_devices, lung_fields, render
from biomedjourney_monai.schema import STRUCTURES

LEFT_LUNG, RIGHT_LUNG, HEART, DIAPHRAGM, MEDIASTINUM, SPINE = range(len(STRUCTURES))
PATIENTS = range(6)
SIDED = ("atelectasis", "effusion", "pneumothorax")


def _columns(mask: np.ndarray) -> float:
    """Return the mean column of a mask as a share of the width."""
    return float(np.nonzero(mask)[1].mean() / mask.shape[1])


def _hemithorax(healthy, side: str, *, margin_px: int) -> np.ndarray:
    """One lung of the healthy patient with a margin, the recess below its diaphragm included."""
    lung = healthy.masks[LEFT_LUNG if side == "left" else RIGHT_LUNG]
    half = np.zeros_like(lung)
    middle = lung.shape[1] // 2
    half[:, middle:] = side == "left"
    half[:, :middle] = side == "right"
    region = np.maximum(lung, healthy.masks[DIAPHRAGM] * half)
    return _grown(region, margin_px)


def _below(mask: np.ndarray, pixels: int) -> np.ndarray:
    """A mask drawn out downward: the stomach's gas follows the diaphragm."""
    kernel = np.zeros((2 * pixels + 1, 5), np.uint8)
    kernel[: pixels + 1] = 1
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)


def _grown(mask: np.ndarray, margin_px: int) -> np.ndarray:
    return cv2.dilate(mask, np.ones((2 * margin_px + 1, 2 * margin_px + 1), np.uint8)).astype(bool)


@pytest.mark.parametrize("size", [64, 128, 256])
@pytest.mark.parametrize("view_position", ["PA", "AP", "LATERAL"])
def test_values_shapes_and_types(rendered, size, view_position):
    result = rendered(1, size=size, view_position=view_position, edema=1)
    assert result.image.shape == (size, size)
    assert result.image.min() >= 0
    assert result.image.max() <= 1
    assert np.isfinite(result.image).all()
    assert result.image.std() > 0.15
    assert result.masks.shape == (6, size, size)
    assert result.masks.dtype == np.uint8
    assert set(np.unique(result.masks)) == {0, 1}
    assert (result.masks.sum(axis=(1, 2)) > 0).all()


@pytest.mark.parametrize("view_position", ["PA", "AP", "LATERAL"])
def test_same_seeds_same_bytes(view_position):
    def draw() -> bytes:
        anatomy = draw_anatomy(3, sex="F", age=66, group=2)
        acquisition = draw_acquisition(4, view_position=view_position)
        result = render(anatomy, acquisition, FindingState(edema=2, effusion_left=1), size=96, with_masks=True)
        return result.image.tobytes() + result.masks.tobytes()

    assert draw() == draw()


def test_masks_do_not_change_the_image():
    anatomy, acquisition = draw_anatomy(3, sex="F", age=66, group=2), draw_acquisition(4)
    plain = render(anatomy, acquisition, FindingState(edema=1), size=96)
    masked = render(anatomy, acquisition, FindingState(edema=1), size=96, with_masks=True)
    assert plain.masks is None
    assert np.array_equal(plain.image, masked.image)


def test_a_tiny_size_is_refused():
    with pytest.raises(ConfigError, match="size must be >= 64"):
        render(draw_anatomy(1, sex="M", age=50, group=0), draw_acquisition(1), FindingState(), size=32)


@pytest.mark.parametrize("patient", PATIENTS)
def test_left_lung_is_at_image_right_and_the_hearts_apex_too(rendered, patient):
    masks = rendered(patient).masks
    assert _columns(masks[LEFT_LUNG]) > 0.5 > _columns(masks[RIGHT_LUNG])
    spine = _columns(masks[SPINE])
    heart_columns = np.nonzero(masks[HEART].any(axis=0))[0] / masks.shape[2]
    assert heart_columns.max() - spine > 1.25 * (spine - heart_columns.min())
    assert not (masks[LEFT_LUNG] & masks[RIGHT_LUNG]).any()


@pytest.mark.parametrize("patient", PATIENTS)
def test_the_right_diaphragm_stands_higher(rendered, patient):
    masks = rendered(patient).masks

    columns = np.arange(masks.shape[2])
    highest = [
        np.nonzero((masks[DIAPHRAGM] * half)[:, np.abs(columns - 64) > 8])[0].min()
        for half in (columns < 64, columns >= 64)
    ]
    assert highest[0] < highest[1]


@pytest.mark.parametrize("patient", PATIENTS)
def test_masks_agree_with_what_is_drawn(rendered, patient):
    result = rendered(patient)
    image, masks = result.image, result.masks.astype(bool)
    lungs = masks[LEFT_LUNG] | masks[RIGHT_LUNG]
    assert image[lungs].mean() + 0.25 < image[masks[HEART]].mean()
    assert image[lungs].mean() + 0.25 < image[masks[DIAPHRAGM]].mean()
    assert image[lungs].mean() + 0.2 < image[masks[MEDIASTINUM]].mean()
    edge = _grown(lungs.astype(np.uint8), 3) & ~_grown(lungs.astype(np.uint8), 1)
    assert image[edge].mean() > image[lungs].mean() + 0.08  # the outline lies where the image turns bright


def _contrast_across_border(image: np.ndarray, mask: np.ndarray) -> float:
    """Mean grey in the mask's rim less mean grey just outside it, each 3 pixels wide."""
    kernel = np.ones((7, 7), np.uint8)
    rim = mask.astype(bool) & ~cv2.erode(mask, kernel, borderValue=1).astype(bool)
    outside = cv2.dilate(mask, kernel).astype(bool) & ~mask.astype(bool)
    return float(image[rim].mean() - image[outside].mean())


@pytest.mark.parametrize("view_position", ["PA", "AP"])
@pytest.mark.parametrize(
    ("structure", "sign", "directions"),
    [
        (LEFT_LUNG, -1, ((0, 6), (0, -6), (6, 0), (-6, 0))),
        (RIGHT_LUNG, -1, ((0, 6), (0, -6), (6, 0), (-6, 0))),
        (HEART, 1, ((0, 6), (0, -6))),
        (MEDIASTINUM, 1, ((0, 6), (0, -6))),
        (DIAPHRAGM, 1, ((6, 0), (-6, 0))),
    ],
)
def test_a_mask_fits_the_image_better_than_the_same_mask_moved(rendered, structure, sign, directions, view_position):
    for patient in PATIENTS:
        result = rendered(patient, view_position=view_position)
        mask = result.masks[structure]
        here = sign * _contrast_across_border(result.image, mask)
        moved = [sign * _contrast_across_border(result.image, np.roll(mask, by, (0, 1))) for by in directions]
        assert here > 0.08
        assert max(moved) < 0.95 * here


@pytest.mark.parametrize("patient", PATIENTS)
def test_lungs_fill_the_frame_as_in_a_radiograph(rendered, patient):
    masks = rendered(patient).masks.astype(bool)
    lungs = masks[LEFT_LUNG] | masks[RIGHT_LUNG]
    rows, columns = np.nonzero(lungs.any(axis=1))[0], np.nonzero(lungs.any(axis=0))[0]
    assert 0.6 < np.ptp(columns) / 128 < 0.95
    assert 0.5 < np.ptp(rows) / 128 < 0.9
    assert rows.min() / 128 < 0.25


@pytest.mark.parametrize("patient", PATIENTS)
def test_heart_width_grows_with_cardiomegaly(rendered, patient):
    ratios = []
    for severity in range(4):
        masks = rendered(patient, cardiomegaly=severity).masks
        chest = np.ptp(np.nonzero((masks[LEFT_LUNG] | masks[RIGHT_LUNG] | masks[HEART]).any(axis=0))[0])
        ratios.append(np.ptp(np.nonzero(masks[HEART].any(axis=0))[0]) / chest)
    assert 0.36 < ratios[0] < 0.50
    assert all(b > a + 0.03 for a, b in pairwise(ratios))


@pytest.mark.parametrize("finding", [*(f"{f}_{s}" for f in SIDED for s in ("left", "right")), "cardiomegaly", "edema"])
@pytest.mark.parametrize("patient", [0, 3])
def test_severity_is_monotone_in_the_pixels(rendered, finding, patient):
    healthy = rendered(patient).image
    change = [np.abs(rendered(patient, **{finding: s}).image - healthy).sum() for s in (1, 2, 3)]
    assert change[0] > 25  # clearly there at 128 pixels, even when mild
    assert change[0] * 1.15 < change[1]
    assert change[1] * 1.1 < change[2]


@pytest.mark.parametrize("finding", SIDED)
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("patient", [1, 2])
def test_a_sided_finding_stays_on_its_side(rendered, finding, side, patient):
    healthy = rendered(patient)
    change = np.abs(rendered(patient, **{f"{finding}_{side}": 1}).image - healthy.image)
    here = change[_hemithorax(healthy, side, margin_px=2)].sum()
    other = "right" if side == "left" else "left"
    assert here > 12 * change[_hemithorax(healthy, other, margin_px=0)].sum()


@pytest.mark.parametrize("finding", ["pneumothorax", "effusion"])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("patient", [0, 4])
def test_air_darkens_and_fluid_brightens(rendered, finding, side, patient):
    healthy = rendered(patient)
    changed = rendered(patient, **{f"{finding}_{side}": 3})
    lung = LEFT_LUNG if side == "left" else RIGHT_LUNG
    lost = healthy.masks[lung].astype(bool) & ~changed.masks[lung].astype(bool)
    difference = changed.image[lost].mean() - healthy.image[lost].mean()
    assert lost.sum() > 0.25 * healthy.masks[lung].sum()
    assert difference < -0.06 if finding == "pneumothorax" else difference > 0.2


REGIONS = {
    "edema": (LEFT_LUNG, RIGHT_LUNG, HEART, MEDIASTINUM),
    "cardiomegaly": (HEART, MEDIASTINUM),
    "atelectasis": (HEART, MEDIASTINUM),  # and its own hemithorax, and 4 cm below its diaphragm
    "effusion": (HEART, MEDIASTINUM),
    "pneumothorax": (HEART, MEDIASTINUM),
}
"""Where a finding may change the image: these structures, before and after, with a margin of 2 % of the frame."""

OUTSIDE_BOUND = 0.075
"""Largest change of any pixel elsewhere: scatter and the local contrast reach a little beyond the region."""


@pytest.mark.parametrize("finding", ["cardiomegaly", "edema", *(f"{f}_{s}" for f in SIDED for s in ("left", "right"))])
@pytest.mark.parametrize("patient", [0, 5])
def test_a_large_finding_changes_pixels_only_where_it_may(rendered, finding, patient):
    healthy, changed = rendered(patient), rendered(patient, **{finding: 3})
    name, _, side = finding.partition("_")
    region = np.zeros_like(healthy.masks[0], bool)
    for structure in REGIONS[name]:
        region |= _grown(np.maximum(healthy.masks[structure], changed.masks[structure]), 3)
    if side:
        region |= _hemithorax(healthy, side, margin_px=3) | _hemithorax(changed, side, margin_px=3)
    if name == "atelectasis":
        region = _below(region, 14)
    difference = np.abs(changed.image - healthy.image)
    assert difference[~region].max() < OUTSIDE_BOUND
    assert difference[~region].mean() < 0.012
    assert difference[region].mean() > 10 * difference[~region].mean()


@pytest.mark.parametrize("severity", [1, 2, 3])
def test_edema_brightens_the_middle_more_than_the_rim(rendered, severity):
    healthy, changed = rendered(2, size=256), rendered(2, size=256, edema=severity)
    lung = healthy.masks[LEFT_LUNG].astype(bool)
    columns = np.nonzero(lung)[1]
    inner = lung & (np.arange(256)[None, :] < np.quantile(columns, 0.4))
    outer = lung & (np.arange(256)[None, :] > np.quantile(columns, 0.8))
    difference = changed.image - healthy.image
    assert difference[inner].mean() > 0.04 * severity
    assert difference[inner].mean() > 1.5 * difference[outer].mean()


def test_atelectasis_lifts_the_diaphragm(rendered):
    lowest = [np.nonzero(rendered(2, atelectasis_right=s).masks[RIGHT_LUNG])[0].max() for s in range(4)]
    assert all(b < a for a, b in pairwise(lowest))


@pytest.mark.parametrize("name", ["pacemaker", "tube", "wires"])
def test_devices_add_bright_metal_where_they_belong(name):
    anatomy, acquisition = draw_anatomy(5, sex="M", age=70, group=0), draw_acquisition(6)
    without = render(anatomy, acquisition, FindingState(), size=256).image
    change = render(anatomy, acquisition, FindingState(), devices=Devices(**{name: True}), size=256).image - without
    assert change.max() > 0.05
    rows, columns = np.nonzero(change > 0.6 * change.max())
    if name == "pacemaker":
        assert np.median(columns) > 128  # the patient's left
    else:
        assert np.abs(columns / 256 - 0.5).max() < 0.2
    assert rows.max() < 230


def test_group_shows_in_bone_contrast_and_not_in_shape():
    acquisition = draw_acquisition(8)
    images, masks = [], []
    for group in range(3):
        result = render(draw_anatomy(9, sex="M", age=50, group=group), acquisition, FindingState(), with_masks=True)
        images.append(result.image)
        masks.append(result.masks)
    assert np.array_equal(masks[0], masks[1])
    assert np.array_equal(masks[0], masks[2])
    lung = masks[0][LEFT_LUNG].astype(bool)
    ribs = [(image - cv2.GaussianBlur(image, (0, 0), 6))[lung].std() for image in images]
    assert ribs[1] > ribs[0] > ribs[2]


def test_a_lung_field_includes_what_heart_and_fluid_hide():
    anatomy, acquisition = draw_anatomy(3, sex="F", age=50, group=0), draw_acquisition(4)
    healthy = lung_fields(anatomy, acquisition, FindingState(), size=128)
    fluid = FindingState(effusion_left=3)
    left, right = lung_fields(anatomy, acquisition, fluid, size=128)
    masks = render(anatomy, acquisition, fluid, size=128, with_masks=True).masks
    np.testing.assert_array_equal(left, healthy[0])
    assert _columns(left) > 0.5 > _columns(right)
    assert masks[LEFT_LUNG][left == 0].sum() < 0.02 * left.sum()
    assert left.sum() > 1.5 * masks[LEFT_LUNG].sum()
    assert (left & masks[HEART]).sum() > 0.05 * left.sum()
    assert not (left & right).any()


@pytest.fixture
def visit() -> Visit:
    anatomy, acquisition = draw_anatomy(4, sex="M", age=70, group=0), draw_acquisition(4)
    return Visit(anatomy, acquisition, FindingState(), axes_of(acquisition, 256, chest_cm=anatomy.lung_width_cm))


def test_no_device_no_metal(visit):
    assert draw_devices(visit, Devices()).max() == 0


def test_devices_add_up(visit):
    parts = [draw_devices(visit, Devices(**{name: True})) for name in ("pacemaker", "tube", "wires")]
    together = draw_devices(visit, Devices(pacemaker=True, tube=True, wires=True))
    assert np.allclose(sum(parts), together, atol=1e-5)


def test_the_pacemaker_sits_below_the_left_clavicle_with_leads_to_the_heart(visit):
    metal = draw_devices(visit, Devices(pacemaker=True))
    rows, columns = np.nonzero(metal > 2.5)
    assert visit.axes.x[0, columns].mean() > 6
    assert visit.axes.y[rows, 0].mean() == pytest.approx(visit.anatomy.clavicle_y + 2.6, abs=2)
    lead_rows = np.nonzero(metal > 0.3)[0]
    assert visit.axes.y[lead_rows, 0].max() > visit.anatomy.heart_y


def test_the_tube_ends_above_the_carina(visit):
    rows, columns = np.nonzero(draw_devices(visit, Devices(tube=True)) > 0.2)
    assert -10 < visit.axes.y[rows, 0].max() < -5.5
    assert np.abs(visit.axes.x[0, columns]).max() < 2


def test_five_wires_down_the_breast_bone(visit):
    metal = draw_devices(visit, Devices(wires=True))
    covered = (metal > 0.2).any(axis=1)
    assert (np.diff(covered.astype(int)) == 1).sum() == 5
