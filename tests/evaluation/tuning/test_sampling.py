import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.evaluation.metrics.cmig import compute_cmig
from biomedjourney_monai.evaluation.tuning.sampling import accuracy_of, frontier_of, retention_of

SCORES = {"pathology_auroc": 0.9, "race_auroc": 0.8, "age_r": 0.5}


def test_the_sides_are_those_of_cmig():
    assert math.sqrt(accuracy_of(SCORES) * retention_of(SCORES)) == pytest.approx(compute_cmig([0.9], [0.8, 0.5]))


def test_a_negative_correlation_retains_nothing():
    assert retention_of({**SCORES, "age_r": -0.2}) == 0


def test_sex_stands_for_the_group_where_no_group_is_known():
    known = {**SCORES, "sex_auroc": 0.3}
    assert retention_of(known) == retention_of(SCORES)
    for unknown in (float("nan"), None):
        assert retention_of({**known, "race_auroc": unknown}) == pytest.approx((0.3 * 0.5) ** 0.5)
    assert math.isnan(retention_of({**SCORES, "race_auroc": None}))


def test_the_frontier_holds_what_nothing_beats():
    points = [(0.9, 0.5), (0.8, 0.7), (0.85, 0.6), (0.8, 0.65), (0.7, 0.7), (float("nan"), 0.9)]
    assert frontier_of(points) == [1, 2, 0]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=12))
def test_no_point_beats_the_frontier_and_every_other_is_beaten_or_equalled(points):
    frontier = frontier_of(points)

    def beats(one, other):
        return one[0] >= other[0] and one[1] >= other[1] and one != other

    for place, point in enumerate(points):
        beaten = any(beats(other, point) for other in points)
        twin = point in [points[n] for n in frontier]
        assert (place in frontier or twin) != beaten
    assert all(np.diff([points[n][0] for n in frontier]) > 0)
