import pydicom
import pytest

from biomedjourney_monai.radiographs.read.view_position import view_position


@pytest.mark.parametrize(
    "view, codes, expected",
    [
        ("PA", [], "PA"),
        ("ap ", [("SCT", "272479007")], "AP"),
        ("", [("SCT", "272479007")], "PA"),
        ("", [("SRT", "R-10214")], "PA"),
        ("", [("SCT", "399348003")], "AP"),
        ("", [("SCT", "399067008")], ""),
        ("LL", [], "LL"),
        ("", [], ""),
    ],
)
def test_the_view_is_read_from_the_position_and_then_from_the_code(view, codes, expected):
    header = pydicom.Dataset()
    header.ViewPosition = view
    header.ViewCodeSequence = []
    for scheme, value in codes:
        code = pydicom.Dataset()
        code.CodingSchemeDesignator, code.CodeValue = scheme, value
        header.ViewCodeSequence.append(code)
    assert view_position(header) == expected
