import numpy as np
import pytest

from biomedjourney_monai.evaluation.metrics.labels import RACE_GROUPS, apply_label_policy, changed_only, race_group


@pytest.mark.parametrize(
    "race, group",
    [
        ("WHITE", "White"),
        ("WHITE - RUSSIAN", "White"),
        ("BLACK/AFRICAN AMERICAN", "Black"),
        ("BLACK/CAPE VERDEAN", "Black"),
        ("ASIAN - CHINESE", "Asian"),
        ("ASIAN", "Asian"),
        ("HISPANIC/LATINO - CUBAN", None),
        ("UNABLE TO OBTAIN", None),
        ("PORTUGUESE", None),
        ("", None),
    ],
)
def test_race_group_of_mimic_strings(race, group):
    assert race_group(race) == (None if group is None else RACE_GROUPS.index(group))


def test_policy_masks_uncertain_and_takes_unmentioned_as_absent_by_default():
    np.testing.assert_array_equal(apply_label_policy([1, 0, -1, np.nan]), [1, 0, np.nan, 0])


def test_policy_can_be_chosen():
    chosen = apply_label_policy([1, 0, -1, np.nan], uncertain="positive", unmentioned="mask")
    np.testing.assert_array_equal(chosen, [1, 0, 1, np.nan])


def test_unknown_policy_is_refused():
    with pytest.raises(ValueError, match="uncertain must be one of"):
        apply_label_policy([1], uncertain="maybe")


def test_changed_only_keeps_new_labels_that_differ_from_the_prior():
    kept = changed_only([0, 1, 1, 0, np.nan, 1], [1, 0, 1, 0, 1, np.nan])
    np.testing.assert_array_equal(kept, [1, 0, np.nan, np.nan, np.nan, np.nan])


def test_the_sex_is_a_number_and_unknown_where_it_is_not_stated():
    import pandas

    from biomedjourney_monai.evaluation.metrics.labels import male_sex

    np.testing.assert_array_equal(male_sex(pandas.Series(["M", "F", "", "O"])), [1, 0, np.nan, np.nan])
