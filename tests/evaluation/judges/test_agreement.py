import numpy as np
import pytest

from biomedjourney_monai.evaluation.judges.agreement import agreement_of


def test_agreement_is_the_share_on_the_side_of_the_majority():
    scores = np.array([[0.9, 0.1], [0.8, 0.6], [0.7, 0.2], [0.2, 0.3]])
    found = agreement_of(scores, findings=("A", "B"))
    assert found["A"]["agreement"] == 0.75
    assert found["B"]["agreement"] == 0.75
    assert found["A"]["mean"] == pytest.approx(0.65)
    assert found["A"]["deviation"] == pytest.approx(np.std(scores[:, 0], ddof=1), abs=1e-4)
    assert (found["B"]["lowest"], found["B"]["highest"]) == (0.1, 0.6)


def test_one_sample_agrees_with_itself():
    found = agreement_of(np.array([[0.3]]), findings=("A",))["A"]
    assert (found["agreement"], found["deviation"]) == (1.0, 0.0)


@pytest.mark.parametrize("shape", [(0, 5), (3, 4), (5,)])
def test_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="must be of shape"):
        agreement_of(np.zeros(shape))
