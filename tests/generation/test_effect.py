import numpy as np

from biomedjourney_monai.generation.effect import NOTHING_CHANGED, changed_share, warn_of_no_change
from biomedjourney_monai.generation.outcomes import noting

PRIOR = np.full((20, 20), 0.5, np.float32)


def changed(share, grey=0.2):
    """The prior with the first rows changed."""
    square = PRIOR.copy()
    square[: round(share * len(PRIOR))] += grey
    return square


def no_twin(sample):
    raise AssertionError("a large change needs no second drawing")


def test_a_large_change_is_not_in_doubt():
    assert warn_of_no_change(PRIOR, np.stack([PRIOR, changed(0.25)]), no_twin) == ()


def test_a_small_change_is_warned_of_unless_its_twin_without_change_differs():
    (warning,) = warn_of_no_change(PRIOR, PRIOR[None] + 0.04, lambda sample: PRIOR + 0.04)
    assert NOTHING_CHANGED in warning
    little = changed(0.05)[None]
    assert warn_of_no_change(PRIOR, little, lambda sample: PRIOR) == ()
    assert len(warn_of_no_change(PRIOR, little, lambda sample: little[0])) == 1


def test_the_twin_is_that_of_the_sample_that_changed_most():
    asked = []
    warn_of_no_change(PRIOR, np.stack([PRIOR, changed(0.05), PRIOR]), lambda sample: asked.append(sample) or PRIOR)
    assert asked == [1]


def test_a_region_is_looked_at_alone():
    region = np.zeros_like(PRIOR)
    region[:2] = 1
    assert changed_share(PRIOR, changed(0.05)[None], visible=0.05, region=region) == 0.5
    assert warn_of_no_change(PRIOR, changed(0.05)[None], no_twin, region=region) == ()


def test_the_codes_of_warnings_are_collected_by_row():
    said, codes = [], ["", ""]
    note = noting(said.append, codes, 1)
    for warning in (
        "it is cut (description_too_long)",
        "nothing (nothing_changed): again",
        "nothing (nothing_changed)",
    ):
        note(warning)
    assert codes == ["", "description_too_long nothing_changed"] and len(said) == 3
