import numpy as np

from biomedjourney_monai.generation.effect import MIN_CHANGE, NOTHING_CHANGED, warn_of_no_change
from biomedjourney_monai.generation.outcomes import noting

PRIOR = np.full((16, 16), 0.5, np.float32)


def test_a_change_below_the_threshold_is_warned_of():
    (warning,) = warn_of_no_change(PRIOR, PRIOR[None] + MIN_CHANGE / 2)
    assert NOTHING_CHANGED in warning
    assert warn_of_no_change(PRIOR, np.stack([PRIOR, PRIOR + 2 * MIN_CHANGE])) == ()


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
