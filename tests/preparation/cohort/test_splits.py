import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedjourney_monai.preparation.cohort.splits import paper_split

subjects = st.lists(st.integers(10_000_000, 19_999_999).map(str), min_size=1, max_size=50)


@settings(max_examples=30, deadline=None)
@given(subjects, st.integers(0, 5))
def test_the_patient_alone_decides(ids, seed):
    once = paper_split(pd.Series(ids), seed=seed)
    twice = paper_split(pd.Series(ids + ids), seed=seed)
    assert list(twice) == list(once) * 2
    for subject, split in zip(ids, once):
        assert (split == "test") == subject.startswith("19")
        assert paper_split(pd.Series([subject]), seed=seed)[0] == split


def test_the_validation_share_is_kept_and_the_seed_moves_it():
    ids = pd.Series([str(10_000_000 + 977 * n) for n in range(9000)])
    split = paper_split(ids, validation_share=0.1)
    assert abs((split == "validate").mean() - 0.1) < 0.01
    assert (paper_split(ids, validation_share=0.1, seed=1) != split).mean() > 0.1
    assert set(paper_split(ids, validation_share=0.0)) == {"train"}


def test_an_index_of_any_kind_is_kept():
    ids = pd.Series(["19000001", "10000001"], index=[7, 3])
    assert paper_split(ids, validation_share=0).to_dict() == {7: "test", 3: "train"}
