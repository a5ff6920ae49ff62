import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedjourney_monai.preparation.descriptions.progression import join_list, write_progression, write_summary
from biomedjourney_monai.preparation.reports.statements import read_statements
from biomedjourney_monai.preparation.reports.states import State, StudyState
from biomedjourney_monai.schema import FINDINGS

SIDED = ("Atelectasis", "Pleural Effusion", "Pneumothorax")

severity = st.integers(1, 3)
sided = st.dictionaries(st.sampled_from(["left", "right"]), severity, min_size=1)
findings = st.fixed_dictionaries(
    {},
    optional={name: (sided if name in SIDED else st.builds(lambda s: {"": s}, severity)) for name in FINDINGS},
)
seeds = st.integers(0, 2**32)


def study(found: dict[str, dict[str, int]], **more) -> StudyState:
    return StudyState({name: State(severities) for name, severities in found.items()}, **more)


def write(prior: StudyState, new: StudyState, seed: int = 0, **more) -> str:
    return write_progression(prior, new, rng=np.random.default_rng(seed), **more)


@settings(max_examples=300, deadline=None)
@given(findings, findings, seeds)
def test_the_description_determines_the_new_findings(prior, new, seed):
    """An independent reader finds in the description every finding of the new study, its side and severity."""
    text = write(study(prior), study(new), seed)
    read = read_statements(text)
    assert {name: s.severities for name, s in read.items() if s.is_present} == new, text
    for name, before in prior.items():
        gone = set(before) - set(new.get(name, {}))
        assert gone <= (read[name].denied if gone else gone), text


@settings(max_examples=300, deadline=None)
@given(findings, findings, seeds)
def test_only_changes_leaves_out_what_is_unchanged_and_nothing_else(prior, new, seed):
    read = read_statements(write(study(prior), study(new), seed, only_changes=True))
    named = {name: state.severities for name, state in read.items() if state.is_present}
    if prior == new:
        assert named == new
        return
    differing = {name: dict(severities.items() - prior.get(name, {}).items()) for name, severities in new.items()}
    assert named == {name: severities for name, severities in differing.items() if severities}
    for name, before in prior.items():
        gone = set(before) - set(new.get(name, {}))
        assert gone <= (read[name].denied if gone else gone)


@settings(max_examples=100, deadline=None)
@given(findings, findings, seeds)
def test_it_reads_as_english(prior, new, seed):
    text = write(study(prior), study(new), seed)
    assert re.fullmatch(r"(?:[A-Z][a-z ,;-]+\. )*[A-Z][a-z ,;-]+\.", text), text
    assert not re.search(r"  |\ba [aeio]|\ban [^aeio]|\{|effusion and is .* on the|bilateral \w* ?\w+ effusion\b", text)
    for plural in ("effusions", "pneumothoraces"):
        assert not re.search(rf"{plural} (?:is|has)\b", text), text


def test_examples():
    prior = study({"Cardiomegaly": {"": 2}, "Edema": {"": 1}})
    new = study({"Edema": {"": 1}, "Pleural Effusion": {"left": 2}})
    texts = {write(prior, new, seed) for seed in range(40)}
    assert len(texts) > 15  # varied
    assert "New moderate left pleural effusion. Cardiomegaly has resolved. Mild pulmonary edema is unchanged." in texts


def test_the_same_seed_gives_the_same_words():
    states = study({"Edema": {"": 2}}), study({"Atelectasis": {"left": 1, "right": 3}})
    assert write(*states, seed=5) == write(*states, seed=5)


def test_nothing_before_and_nothing_after():
    for seed in range(9):
        text = write(study({}), study({}), seed)
        assert read_statements(text) == {} and re.search("clear|No acute", text)


def test_denials_are_those_of_the_new_report_only():
    prior, new = study({"Edema": {"": 2}}), study({}, denied=("Edema", "Pneumothorax"))
    texts = " ".join(write(prior, new, seed) for seed in range(30))
    assert "pneumothorax" in texts.lower() and "effusion" not in texts.lower()


def test_unknown_sides_and_severities_are_left_out():
    text = write(study({}), study({"Pleural Effusion": {"": 0}}))
    assert "pleural effusion" in text.lower() and not re.search("left|right|small|  ", text)


def test_devices_come_and_go():
    bare, tube = study({}, has_devices=False), study({}, devices=("endotracheal tube",), has_devices=True)
    assert "endotracheal tube" in write(bare, tube).lower()
    assert "endotracheal tube has been removed" in write(tube, bare)
    unmentioned = study({}, has_devices=True)
    assert "tube" not in write(tube, unmentioned)


def test_doubt_is_kept():
    new = StudyState({"Edema": State({"": 1}, uncertain=True)})
    assert read_statements(write(study({}), new))["Edema"].uncertain
    assert "pulmonary edema" in write(new, study({})) and "no" in write(new, study({})).lower()


def test_a_summary_of_labels_alone():
    rng = np.random.default_rng(0)
    found = {"Edema": {"": 0}, "Pleural Effusion": {"left": 2}}
    assert write_summary(study(found), rng=rng) == "Pulmonary edema. Moderate left pleural effusion."
    assert write_summary(study({"Pleural Effusion": {"": 0}}), rng=rng) == "Pleural effusion."
    assert write_summary(study({}), rng=rng).startswith("No acute")


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b, and c"),
        (["a and b", "c"], "a and b, and c"),
    ],
)
def test_lists(items, expected):
    assert join_list(items) == expected
