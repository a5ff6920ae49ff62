"""Findings: labels, severities, refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.phantom.findings import Devices, FindingState
from biomedjourney_monai.schema import FINDINGS

severities = st.integers(0, 3)
states = st.builds(FindingState, **dict.fromkeys(FindingState().as_dict(), severities))


def test_healthy_state_has_no_label():
    assert FindingState().labels() == dict.fromkeys(FINDINGS, 0)


@given(states)
def test_a_label_is_present_exactly_where_a_severity_is(state):
    labels = state.labels()
    assert list(labels) == list(FINDINGS)
    assert labels["Cardiomegaly"] == int(state.cardiomegaly > 0)
    assert labels["Edema"] == int(state.edema > 0)
    assert labels["Atelectasis"] == int(state.atelectasis_left + state.atelectasis_right > 0)
    assert labels["Pleural Effusion"] == int(state.effusion_left + state.effusion_right > 0)
    assert labels["Pneumothorax"] == int(state.pneumothorax_left + state.pneumothorax_right > 0)


@given(states)
def test_severity_keeps_sides_apart_and_takes_the_worse_without_one(state):
    assert state.severity("Pleural Effusion", "left") == state.effusion_left
    assert state.severity("Pleural Effusion", "right") == state.effusion_right
    assert state.severity("Pleural Effusion") == max(state.effusion_left, state.effusion_right)
    assert state.severity("Edema", "left") == state.edema


@given(states, st.sampled_from(FINDINGS), st.sampled_from(["left", "right"]), severities)
def test_one_severity_is_changed_and_no_other(state, finding, side, severity):
    side = side if finding in ("Atelectasis", "Pleural Effusion", "Pneumothorax") else ""
    changed = state.with_severity(finding, side, severity)
    assert changed.severity(finding, side or None) == severity
    assert changed.with_severity(finding, side, state.severity(finding, side or None)) == state
    differing = [name for name, value in changed.as_dict().items() if value != state.as_dict()[name]]
    assert len(differing) == int(severity != state.severity(finding, side or None))


@pytest.mark.parametrize(("finding", "side"), [("Edema", "left"), ("Pneumothorax", ""), ("Pneumonia", "left")])
def test_a_severity_where_there_is_no_such_finding_is_refused(finding, side):
    with pytest.raises(ConfigError, match="must exist in the phantom"):
        FindingState().with_severity(finding, side, 1)


@pytest.mark.parametrize("bad", [-1, 4, 1.5, True, "2", None])
def test_a_severity_out_of_range_is_refused_by_name(bad):
    with pytest.raises(ConfigError, match="effusion_left must be 0, 1, 2 or 3"):
        FindingState(effusion_left=bad)


def test_unknown_finding_and_side_are_refused():
    with pytest.raises(ConfigError, match="finding must be one of"):
        FindingState().severity("Pneumonia")
    with pytest.raises(ConfigError, match="side must be"):
        FindingState().severity("Pneumothorax", "up")


def test_devices_know_whether_there_is_one():
    assert not Devices().any()
    assert Devices(wires=True).any()
