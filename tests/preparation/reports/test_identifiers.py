import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.preparation.reports.identifiers import PATTERNS, find_identifiers, strip_identifiers


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Compared to ___.", "mark"),
        ("Compared to [**2119-3-4**].", "mark"),
        ("Normal chest x-XXXX.", "mark"),
        ("Compared to 03/04/2019.", "date"),
        ("Compared to 2019-03-04.", "date"),
        ("Compared to March 4, 2019.", "date"),
        ("Compared to 4 Mar 2019.", "date"),
        ("Telephoned at 10:35 am.", "time"),
        ("Call 555-123-4567.", "telephone"),
        ("Write to a.b@hospital.org.", "mail address"),
        ("MRN: A123456.", "number of a record"),
        ("Accession 20190304.", "number of a record"),
        ("Seen by Dr. Smith.", "name"),
        ("Mrs. O'Hara is well.", "name"),
    ],
)
def test_identifiers_are_found_and_stripped(text, kind):
    assert kind in find_identifiers(text)
    assert find_identifiers(strip_identifiers(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "Nodule of 2.5 x 3.1 cm at T9-T10.",
        "In 3/4 of the left lung.",
        "Improved by 20-30 %.",
        "The 7th rib, 1. and 2. segment.",
        "Marked cardiomegaly may have improved.",
    ],
)
def test_clinical_text_stays(text):
    assert find_identifiers(text) == [] and strip_identifiers(text) == text


PIECES = st.sampled_from(
    [
        *("Dr. ", "Mr. ", "Mrs. ", "Ms. ", "Smith", "O'Hara", "___", "[**", "**]", "[", "]", "XXXX", "x-", "MRN ", "#"),
        *("2019", "03/04/", "March ", "4, ", "10:35", " am", "555-", "1234", "a@b.org", ".", " ", "\n", "effusion"),
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_no_text_is_passed_over(text):
    assert find_identifiers(text) == [kind for kind, pattern in PATTERNS.items() if pattern.search(text)]
