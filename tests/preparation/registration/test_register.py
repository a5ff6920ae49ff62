from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image
from scipy import ndimage

from biomedjourney_monai.errors import ConfigError, ImageError, SettingError
from biomedjourney_monai.preparation.registration.image_pair import ImagePair
from biomedjourney_monai.preparation.registration.register import (
    MIN_SCORE,
    RETRY_BELOW,
    Registration,
    apply_transform,
    gradient_correlation,
    register,
    rejection,
)
from biomedjourney_monai.radiographs import load_with_content

REAL = Path(__file__).parents[3].parent / "shared" / "real-cxr"
SIZE = 128
CENTRE = (SIZE - 1) / 2
FULL = np.ones((SIZE, SIZE), bool)
STILL = sitk.Euler2DTransform()


@pytest.fixture(scope="module")
def chest(tmp_path_factory):
    draw = pytest.importorskip("biomedjourney_monai.phantom.truth")
    patients = pytest.importorskip("biomedjourney_monai.phantom.patients")
    patient = patients.draw_patient(3, 0)
    pixels = np.asarray(draw.render_visit(patient, patient.visits[0], size=SIZE).image, np.float32)
    path = tmp_path_factory.mktemp("chest") / "chest.png"
    Image.fromarray(np.rint(255 * (pixels - pixels.min()) / np.ptp(pixels)).astype(np.uint8)).save(path)
    return load_with_content(path, size=SIZE)


def move(image: np.ndarray, *, degrees=0.0, scale=1.0, shift=(0.0, 0.0)) -> tuple[np.ndarray, np.ndarray]:
    """Move an image (clockwise, larger, right and down), and give the matrix from its points to the moved one's."""
    matrix = cv2.getRotationMatrix2D((CENTRE, CENTRE), -degrees, scale)
    matrix[:, 2] += shift
    return cv2.warpAffine(image.astype(np.float32), matrix, (SIZE, SIZE)), matrix


def test_what_the_motion_numbers_mean(chest):
    image, content = chest
    found = sitk.Similarity2DTransform()
    found.SetCenter((CENTRE, CENTRE))
    found.SetScale(1 / 1.1)
    found.SetAngle(np.radians(-5))
    result = apply_transform(found, ImagePair(image, image, content, content))
    expected, _matrix = move(image, degrees=5, scale=1.1)
    assert np.abs(result.image - expected)[result.valid].max() < 0.02
    assert result.scale == pytest.approx(1.1) and result.rotation_degrees == pytest.approx(5)
    assert result.shift_x_px == pytest.approx(0, abs=1e-9)
    found = sitk.TranslationTransform(2, (-7.0, 3.0))
    result = apply_transform(found, ImagePair(image, image, content, content))
    assert (result.shift_x_px, result.shift_y_px) == pytest.approx((7.0, -3.0))
    assert np.allclose(result.image[:-3, 7:][result.valid[:-3, 7:]], image[3:, :-7][result.valid[:-3, 7:]], atol=1e-6)
    assert result.overlap == pytest.approx(result.valid[content].mean())


@pytest.mark.parametrize("toolkit", ["simpleitk", pytest.param("elastix", marks=pytest.mark.slow)])
def test_a_known_motion_is_undone_whatever_disease_was_added(chest, toolkit):
    image, content = chest
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    points = np.argwhere(content)[::97, ::-1].astype(float)
    errors = []
    for _ in range(12 if toolkit == "simpleitk" else 3):
        motion = {"degrees": rng.uniform(-10, 10), "scale": rng.uniform(0.9, 1.1), "shift": rng.uniform(-12, 12, 2)}
        moved, matrix = move(image, **motion)
        moved_content = move(content.astype(np.float32), **motion)[0] > 0.99
        opacity = 0.25 * np.exp(-(((x - rng.uniform(30, 98)) / 14) ** 2 + ((y - 75) / 14) ** 2))
        moved = np.clip(0.9 * moved + 0.05 + opacity, 0, 1) * moved_content
        result = register(image, moved, content, moved_content, toolkit=toolkit)
        inverse = _matrix_of(result)
        back = points @ matrix[:, :2].T + matrix[:, 2]
        errors.append(np.linalg.norm(back @ inverse[:, :2].T + inverse[:, 2] - points, axis=1).mean())
    assert np.median(errors) < (0.3 if toolkit == "simpleitk" else 0.6) and max(errors) < 1.5


def _matrix_of(result: Registration) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D((CENTRE, CENTRE), -result.rotation_degrees, result.scale)
    matrix[:, 2] += (result.shift_x_px, result.shift_y_px)
    return matrix


def test_the_same_input_gives_the_same_bits(chest):
    image, content = chest
    moved, _matrix = move(image, degrees=4, shift=(5, -3))
    first, *others = (register(image, moved, content, content) for _ in range(6))
    for other in others:
        assert np.array_equal(first.image, other.image)
        assert (first.scale, first.shift_x_px, first.gradient_correlation) == (
            other.scale,
            other.shift_x_px,
            other.gradient_correlation,
        )


def test_a_registered_image_scores_better_and_laterality_stays(chest):
    image, content = chest
    image = image.copy()
    image[20:30, 16:26] = 1  # a marker on image left, the patient's right
    moved, _matrix = move(image, degrees=6, scale=0.95, shift=(8, 5))
    result = register(image, moved, content, content)
    assert result.gradient_correlation > 0.9 > gradient_correlation(image, moved, content) + 0.3
    assert result.image[22:28, 18:24].mean() > 0.9 and result.image[22:28, 102:108].mean() < 0.9


@pytest.mark.parametrize("transform", ["rigid", "affine"])
def test_other_transforms(chest, transform):
    image, content = chest
    moved, _matrix = move(image, degrees=5, shift=(4, 4))
    result = register(image, moved, content, content, transform=transform)
    assert result.rotation_degrees == pytest.approx(-5, abs=0.5)
    assert (result.scale == pytest.approx(1, abs=1e-9)) == (transform == "rigid")


def test_wrong_pairs_score_low(chest):
    image, content = chest
    for wrong in (1 - image, np.rot90(image).copy(), np.random.default_rng(0).random(image.shape).astype(np.float32)):
        result = register(image, wrong, content, content)
        assert rejection(result.measures) != ""


def test_shapes_and_names_are_checked():
    with pytest.raises(ImageError, match="one size"):
        register(np.zeros((8, 8)), np.zeros((9, 9)))
    with pytest.raises(ImageError, match="square"):
        register(np.zeros((8, 9)), np.zeros((8, 9)))
    with pytest.raises(SettingError, match="bspline"):
        register(np.zeros((8, 8)), np.zeros((8, 8)), transform="bspline")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"stretch": (0.79, 1.0)}, "scale out of range"),
        ({"stretch": (1.0, 1.26)}, "scale out of range"),
        ({"rotation_degrees": -15.1}, "rotation out of range"),
        ({"overlap": 0.69}, "overlap too small"),
        ({"gradient_correlation": MIN_SCORE - 0.01}, "score below threshold"),
        ({"gradient_correlation": float("nan")}, "score below threshold"),
    ],
)
def test_sanity_limits(changes, reason):
    sane = {"gradient_correlation": 0.5, "scale": 1.0, "rotation_degrees": 0.0, "shift_x_px": 0.0, "shift_y_px": 0.0}
    registration = Registration(
        FULL, FULL, **(sane | {"stretch": (1.0, 1.0), "overlap": 0.9} | changes), transform=STILL
    )
    assert rejection(registration.measures) == reason


@pytest.mark.parametrize("seed", [1, 4])
def test_real_pairs_are_kept_and_laterals_are_not_whatever_the_samples(seed):
    if not REAL.is_dir():
        pytest.skip("the real radiographs are not beside the project")
    pandas = pytest.importorskip("pandas")
    studies = pandas.read_csv(REAL / "studies.csv").sort_values(["patient", "offset_days"])
    loaded = {name: load_with_content(REAL / "images" / name, size=SIZE) for name in studies["filename"]}
    frontal = studies[studies["view_position"] != "LATERAL"]
    kept = []
    for _patient, group in frontal.groupby("patient"):
        for prior, new in zip(group["filename"], group["filename"][1:]):
            kept.append(not rejection(_register(loaded[prior], loaded[new], seed).measures))
    assert len(kept) >= 10 and np.mean(kept) >= 0.85
    laterals = studies.loc[studies["view_position"] == "LATERAL", "filename"]
    for prior, lateral in zip(frontal["filename"][::3], laterals):
        assert rejection(_register(loaded[prior], loaded[lateral], seed).measures)


def _register(prior, new, seed) -> Registration:
    return register(prior[0], new[0], prior[1], new[1], seed=seed)


def test_without_a_transform_the_new_image_stays_where_it_is(chest):
    prior, content = chest
    new = np.roll(prior, 5, axis=1)
    left = register(prior, new, content, content, transform="none")
    np.testing.assert_array_equal(left.valid, content)
    np.testing.assert_allclose(left.image[content], new[content], atol=1e-6)
    assert (left.scale, left.rotation_degrees, left.shift_x_px, left.shift_y_px) == pytest.approx((1, 0, 0, 0))
    assert left.gradient_correlation < register(prior, prior, content, content, transform="none").gradient_correlation


def test_the_transform_is_what_moved_the_image(chest):
    image, content = chest
    moved, _matrix = move(image, degrees=5, shift=(4, -3))
    result = register(image, moved, content, content)
    again = apply_transform(result.transform, ImagePair(image, moved, content, content))
    assert np.array_equal(result.image, again.image) and result.scale == again.scale


def test_deformable_registration_must_be_asked_for_knowingly(chest):
    image, content = chest
    with pytest.raises(ConfigError, match=r"undoes 56-98 % .*--accept-erased-disease"):
        register(image, image, content, content, transform="deformable")
    with pytest.raises(ConfigError, match="SimpleITK"):
        register(image, image, transform="deformable", toolkit="elastix", accept_erased_disease=True)


@pytest.mark.slow
def test_deformable_registration_erases_what_similarity_leaves(chest):
    image, content = chest
    y, x = np.mgrid[:SIZE, :SIZE]
    wider = x + 6 * np.exp(-(((x - 78) / 16) ** 2 + ((y - 75) / 16) ** 2))  # the heart's border moves by 6 px
    sick = cv2.remap(image, wider.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
    left = {}
    for transform in ("similarity", "deformable"):
        result = register(image, sick, content, content, transform=transform, accept_erased_disease=True)
        left[transform] = np.abs(result.image - image)[result.valid].mean()
        assert result.scale == pytest.approx(1, abs=0.05)
    assert left["deformable"] < 0.6 * left["similarity"]


def test_iterations_are_counted_by_level(chest):
    from biomedjourney_monai.preparation.registration.simpleitk import count_iterations

    image, content = chest
    moved, _matrix = move(image, degrees=5)
    counts = count_iterations(ImagePair(image, moved, content, content), transform="similarity", seed=1)
    assert len(counts) == 3 and all(1 <= count <= 100 for count in counts)


@pytest.fixture
def searches(chest, monkeypatch):
    """Answer the searches of a seed with what a test wants: the right motion, a wrong one, or none at all."""
    answers: dict[int, str] = {}
    asked: list[int] = []

    def search(_pair, transform: str, seed: int) -> sitk.Transform:
        asked.append(seed)
        if answers[seed] == "none":
            raise ImageError("two images must overlap to be registered", found="no common content")
        return sitk.TranslationTransform(2, (0.0, 0.0) if answers[seed] == "right" else (15.0, 10.0))

    monkeypatch.setattr("biomedjourney_monai.preparation.registration.simpleitk.find_transform", search)

    def ask(first: str, second: str) -> tuple[Registration, list[int]]:
        answers.update({4: first, 5: second})
        asked.clear()
        return register(chest[0], chest[0], chest[1], chest[1], seed=4), list(asked)

    return ask


def test_a_search_that_does_not_arrive_is_tried_once_more_and_the_better_result_kept(searches):
    assert searches("wrong", "wrong")[0].gradient_correlation < RETRY_BELOW
    for first, second, seeds in (("right", "wrong", [4]), ("wrong", "right", [4, 5]), ("none", "right", [4, 5])):
        result, asked = searches(first, second)
        assert asked == seeds and result.gradient_correlation == pytest.approx(1)
    assert searches("wrong", "none")[0].shift_x_px == pytest.approx(-15)
    with pytest.raises(ImageError, match="overlap"):
        searches("none", "none")


def test_a_mirrored_pair_is_told_from_one_that_fits_neither_way():
    sane = {"scale": 1.0, "rotation_degrees": 0.0, "shift_x_px": 0.0, "shift_y_px": 0.0, "overlap": 0.9}
    sane |= {"stretch": (1.0, 1.0)}
    for own, mirrored, reason in (
        (0.4, 0.5, "fits better mirrored"),
        (0.1, 0.5, "fits better mirrored"),
        (-0.03, -0.02, "score below threshold"),
        (0.5, 0.4, ""),
        (0.5, float("nan"), ""),
    ):
        registration = Registration(FULL, FULL, own, mirrored_correlation=mirrored, **sane, transform=STILL)
        assert rejection(registration.measures) == reason


RNG = np.random.default_rng(0)
IMAGE = ndimage.gaussian_filter(RNG.random((256, 256)), 4)
WHOLE = np.ones(IMAGE.shape, bool)


def test_against_scipy():
    other = IMAGE + 0.3 * ndimage.gaussian_filter(RNG.random(IMAGE.shape), 4)
    expected = []
    for axis in (1, 0):
        a, b = (
            ndimage.sobel(ndimage.gaussian_filter(image, 1.5), axis)[4:-4, 4:-4].ravel() for image in (IMAGE, other)
        )
        expected.append(np.corrcoef(a, b)[0, 1])
    assert gradient_correlation(IMAGE, other, WHOLE) == pytest.approx(np.mean(expected), abs=2e-3)


def test_the_extremes():
    assert gradient_correlation(IMAGE, 3 * IMAGE + 7, WHOLE) == pytest.approx(1, abs=1e-6)
    assert gradient_correlation(IMAGE, -IMAGE, WHOLE) == pytest.approx(-1, abs=1e-6)
    assert gradient_correlation(IMAGE, np.ones_like(IMAGE), WHOLE) == 0
    assert gradient_correlation(IMAGE, IMAGE, ~WHOLE) == 0


def test_what_lies_outside_the_overlap_does_not_count():
    overlap = WHOLE.copy()
    overlap[:, 200:] = False
    spoilt = IMAGE.copy()
    spoilt[:, 206:] = RNG.random((256, 50))
    assert gradient_correlation(IMAGE, spoilt, overlap) > 0.999
    assert gradient_correlation(IMAGE, spoilt, WHOLE) < 0.9


def test_the_scale_follows_the_images_side():
    small = IMAGE.reshape(128, 2, 128, 2).mean((1, 3))
    other = np.roll(IMAGE, 3, axis=1)
    small_other = other.reshape(128, 2, 128, 2).mean((1, 3))
    at_256 = gradient_correlation(IMAGE, other, WHOLE)
    at_128 = gradient_correlation(small, small_other, np.ones(small.shape, bool))
    assert at_128 == pytest.approx(at_256, abs=0.05)
