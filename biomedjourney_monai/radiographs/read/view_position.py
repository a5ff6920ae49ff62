"""The view of a radiograph, from its DICOM header."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pydicom

FRONTAL = ("PA", "AP")
VIEW_CODES = {
    **dict.fromkeys((("SCT", "272479007"), ("SRT", "R-10214"), ("SNM3", "R-10214")), "PA"),
    **dict.fromkeys((("SCT", "399348003"), ("SRT", "R-10206"), ("SNM3", "R-10206")), "AP"),
}
"""Postero-anterior and antero-posterior in ViewCodeSequence: DICOM PS3.16, CID 4010, and their older codes."""


def view_position(header: pydicom.Dataset) -> str:
    """ViewPosition in capitals, at most 16 characters; where it is empty "PA", "AP" or "" from ViewCodeSequence."""
    view = str(header.get("ViewPosition") or "").strip(" \0").upper()
    if view:
        return view[:16]
    codes = header.get("ViewCodeSequence") or ()
    names = [(str(code.get("CodingSchemeDesignator")), str(code.get("CodeValue"))) for code in codes]
    return next((VIEW_CODES[name] for name in names if name in VIEW_CODES), "")
