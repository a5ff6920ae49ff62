"""The contact sheet."""

from __future__ import annotations

import numpy as np

from biomedjourney_monai.phantom.sheet import SHEET_STATES, contact_sheet
from biomedjourney_monai.schema import FINDINGS


def test_sheet_has_a_row_per_patient_and_a_column_per_state():
    sheet = contact_sheet(2, seed=1, size=64)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (2 * 64, len(SHEET_STATES) * 64)
    assert np.array_equal(sheet, contact_sheet(2, seed=1, size=64))
    assert not np.array_equal(sheet[:64], sheet[64:])


def test_every_finding_has_its_column():
    shown = {finding for _, state in SHEET_STATES for finding, present in state.labels().items() if present}
    assert shown == set(FINDINGS)
    assert SHEET_STATES[0][1].labels() == dict.fromkeys(FINDINGS, 0)
