from collections import Counter

import numpy as np
import pytest

from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.onto_cases import KINDS, draw_case
from biomedjourney_monai.schema import FINDINGS


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
