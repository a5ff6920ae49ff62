"""Detail transfer: what did not change is the film's, what did follows the model, letters and borders stay."""

import cv2
import numpy as np
import pytest

from biomedjourney_monai.cli import arguments
from biomedjourney_monai.errors import SettingError
from biomedjourney_monai.generation.detail import DETAILS, check_detail, enlarge_change, find_change, transfer_detail
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.truth import anatomy_of, render_counterfactual
from biomedjourney_monai.radiographs.scaling import letterbox, resize, restore

SIZE, FULL = 128, 512


@pytest.fixture(scope="module")
def film():
    """A patient without findings, and the truth with a large left effusion, each shape (512, 512)."""
    patient = draw_patient(5, 0, stream="controls")
    visit, anatomy = patient.visits[0], anatomy_of(patient)
    states = FindingState(), FindingState(effusion_left=3)
    return [
        render_counterfactual(patient, visit, state, size=FULL, view_position="PA", anatomy=anatomy).image
        for state in states
    ]


def at_model_size(picture):
    return letterbox(picture, size=SIZE)[0]


def test_a_counterfactual_like_the_prior_gives_the_film_back(film):
    prior = at_model_size(film[0])
    noise = np.random.default_rng(0).normal(0, 0.004, prior.shape).astype(np.float32)
    made = transfer_detail(film[0], find_change(prior + noise, prior, film[0].shape))
    assert made is film[0]


def test_the_truth_is_nearer_than_by_enlargement_and_the_rest_is_the_films(film):
    prior, square = map(at_model_size, film)
    made = transfer_detail(film[0], find_change(square, prior, film[0].shape))
    error = [np.square(picture - film[1]).mean() for picture in (made, restore(square, film[0].shape))]
    assert error[0] < error[1] / 4
    assert (made == film[0]).mean() > 0.6
    assert np.array_equal(made[:, : FULL // 4], film[0][:, : FULL // 4]), "the patient's right, image left"


def test_structure_that_the_counterfactual_lacks_fades_and_the_rest_of_it_stays():
    stripes = np.where(np.arange(SIZE) % 6 < 3, 0.3, 0.5).astype(np.float32)
    prior = np.tile(stripes, (SIZE, 1))
    hidden, denser = prior.copy(), prior + np.float32(0.2)
    hidden[30:60, 30:60] = 0.7
    gone = find_change(hidden, prior, (FULL, FULL)).kept
    assert gone[45, 45] < 0.2 and gone[100, 100] == pytest.approx(1)
    assert find_change(denser, prior, (FULL, FULL)).kept[20:-20, 20:-20].min() > 0.99
    film = np.tile(np.repeat(stripes, 4), (FULL, 1)) + 0.05 * (np.arange(FULL) % 8 < 4)
    made = transfer_detail(film.astype(np.float32), find_change(hidden, prior, film.shape))
    assert made[180, 160:200].std() < 0.5 * film[180, 160:200].std()


def with_letter(column):
    """A grey square with a letter in its upper part."""
    letter = cv2.putText(np.zeros((SIZE, SIZE), np.uint8), "L", (column, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 2)
    return 0.3 + np.float32(0.67 / 255) * letter


def test_a_side_marker_stays_where_the_model_erases_it():
    prior, elsewhere, erased = with_letter(100), with_letter(20), np.full((SIZE, SIZE), 0.3, np.float32)
    assert not find_change(erased, prior, (FULL, FULL)).amount.any()
    assert np.abs(find_change(elsewhere, prior, (FULL, FULL)).amount).max() < 0.05


def test_no_halo_is_drawn_at_the_collimators_edge():
    prior = np.full((SIZE, SIZE), 0.5, np.float32)
    prior[:12], prior[:, :9] = 0, 0
    square = np.full_like(prior, 0.7)
    amount = find_change(square, prior, (FULL, FULL)).amount
    assert not amount[:12].any() and not amount[:, :9].any()
    assert amount[12, 64] < 0.01 and amount[64, 64] == pytest.approx(0.2, abs=1e-6)
    assert not amount[:, -1].any()


@pytest.mark.parametrize("hw", [(700, 300), (300, 700), (96, 100), (128, 128), (1000, 97)])
def test_films_of_any_shape_are_served(hw):
    rng = np.random.default_rng(0)
    film = rng.random(hw, np.float32)
    prior = at_model_size(film)
    square = prior.copy()
    square[50:80, 50:80] = np.clip(square[50:80, 50:80] + 0.3, 0, 1)
    change = find_change(square, prior, hw)
    made = transfer_detail(film, change)
    assert made.shape == hw and np.isfinite(made).all()
    assert enlarge_change(change, hw).shape == hw
    assert (made != film).any() and (made == film).any()


def test_a_change_stays_inside_the_models_changed_pixels():
    prior = np.full((SIZE, SIZE), 0.4, np.float32)
    square = prior.copy()
    square[60:70, 60:70] = 0.8
    film = resize(np.random.default_rng(0).random((64, 64)).astype(np.float32), FULL, FULL)
    made = transfer_detail(film, find_change(square, prior, film.shape))
    outside = np.ones(film.shape, bool)
    outside[4 * 60 : 4 * 70, 4 * 60 : 4 * 70] = False
    assert np.array_equal(made[outside], film[outside])


def test_the_grey_scale_of_the_film_counts():
    prior = np.full((SIZE, SIZE), 0.4, np.float32)
    square = prior.copy()
    square[40:90, 40:90] = 0.6
    film = np.full((FULL, FULL), 0.4, np.float32)
    assert transfer_detail(film, find_change(square, prior, film.shape), scale=0.5)[256, 256] == pytest.approx(0.5)


def test_the_options_are_those_of_the_command_line():
    assert arguments.DETAILS == DETAILS
    assert [check_detail(detail) for detail in DETAILS] == list(DETAILS)
    with pytest.raises(SettingError, match="detail must be transfer or none; found 'half'"):
        check_detail("half")


def test_a_part_that_changed_only_faintly_is_left_as_it_was():
    prior = np.full((SIZE, SIZE), 0.5, np.float32)
    square = prior.copy()
    square[20:40, 20:40] += 0.08  # faint everywhere
    square[80:100, 80:100] += np.linspace(0.03, 0.3, 20, dtype=np.float32)  # faint at one side only
    amount = find_change(square, prior, (SIZE, SIZE)).amount
    assert not amount[:60, :60].any()
    assert (amount[84:96, 81:98] > 0.02).all()


@pytest.mark.parametrize("turn", [lambda picture: picture, np.transpose], ids=["landscape", "portrait"])
def test_the_padding_of_a_film_that_is_not_square_draws_no_band(turn):
    prior, square = np.zeros((SIZE, SIZE), np.float32), np.zeros((SIZE, SIZE), np.float32)
    prior[16:112] = square[16:112] = 0.5  # what the film covers
    square[40:112, 20:60] += 0.3  # a change that continues to the film's lower edge
    square[104:112, 60:] -= 0.2  # an echo of the padding, next to it
    change = find_change(turn(square), turn(prior), turn(np.zeros((384, 512))).shape)
    amount = turn(change.amount)
    assert np.abs(amount[:, 64:]).max() < 0.01
    assert amount[60:92, 24:56].min() == pytest.approx(0.3) and amount[90, 40] > 0.2
