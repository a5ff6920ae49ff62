import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.preparation.reports.sections import Sections, clean, parse_report, read_report

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old woman with cough, ? pneumonia

 COMPARISON:  Chest radiograph ___.

 FINDINGS:

 Small left pleural effusion.  The heart is
 mildly enlarged.

 No pneumothorax.

 IMPRESSION:

 1. Small left pleural effusion, new since ___.
 2. Mild cardiomegaly.

 NOTIFICATION:  Discussed with Dr. ___ at ___ PM.
"""


def test_a_whole_report():
    assert parse_report(REPORT) == Sections(
        impression="Small left pleural effusion, new since. Mild cardiomegaly.",
        findings_section="Small left pleural effusion. The heart is mildly enlarged. No pneumothorax.",
        comparison="Chest radiograph.",
    )


@pytest.mark.parametrize("change", [str.lower, str.title, lambda text: text.replace("\n", "\r\n"), lambda text: text])
def test_case_and_line_ends_do_not_matter(change):
    parsed = parse_report(change(REPORT))
    assert parsed.summary.lower() == "small left pleural effusion, new since. mild cardiomegaly."
    assert parsed.findings_section.lower().endswith("no pneumothorax.")


@pytest.mark.parametrize(
    "heading", ["IMPRESSION", "CONCLUSION", "FINDINGS AND IMPRESSION", "IMPRESSION AND FINDINGS", "FINDINGS/IMPRESSION"]
)
def test_headings_that_count_as_impression(heading):
    parsed = parse_report(f" FINDINGS: Long walk.\n {heading}:  Edema.\n")
    assert parsed.impression == parsed.summary == "Edema."


def test_the_last_impression_counts_unless_it_is_empty():
    assert parse_report(" IMPRESSION: Old.\n IMPRESSION: New.").impression == "New."
    assert parse_report(" IMPRESSION: Old.\n IMPRESSION: ___\n ADDENDUM: Seen.").impression == "Old."


def test_findings_stand_in_for_a_missing_impression_and_the_last_paragraph_for_both():
    assert parse_report(" FINDINGS: Clear.").summary == "Clear."
    no_headings = " FINAL REPORT\n EXAM: Chest.\n \n As compared to ___, no change.\n \n The lungs are clear.\n"
    assert parse_report(no_headings) == Sections(last_paragraph="The lungs are clear.")
    assert parse_report("The lungs are clear.").summary == "The lungs are clear."


def test_a_colon_inside_a_sentence_is_no_heading():
    parsed = parse_report(" IMPRESSION:  Two findings: edema and effusion.\n Note: stable.\n")
    assert parsed.impression == "Two findings: edema and effusion. Note: stable."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Compared to ___, no change.", "Compared to, no change."),
        ("Seen by Dr. ___ (___).", "Seen by Dr."),
        ("1. Edema.\n2. No effusion.", "Edema. No effusion."),
        ("1. Edema. 2. No effusion.", "Edema. No effusion."),
        ("Nodule of 2.5 cm in 3 places.", "Nodule of 2.5 cm in 3 places."),
        ("______________", ""),
        ("  a \t b\n\nc ", "a b c"),
    ],
)
def test_cleaning(text, expected):
    assert clean(text) == expected


@given(st.text(max_size=300))
def test_any_text_gives_clean_sections(text):
    for part in vars(parse_report(text)).values():
        assert "__" not in part and "\n" not in part and part == clean(part)


@given(st.text(alphabet="\n :_.1 IMPRESSION(FDGS)/abc", max_size=120))
def test_heading_like_noise_never_fails(text):
    assert "___" not in parse_report(text).summary


def test_files_that_cannot_be_read_have_no_sections(tmp_path):
    assert read_report("") == read_report(tmp_path / "absent.txt") == read_report(tmp_path) == Sections()
    (tmp_path / "latin.txt").write_bytes(" IMPRESSION: Œdème 38\xb0.".encode("cp1252", "replace"))
    assert read_report(tmp_path / "latin.txt").impression.endswith("38°.")
    (tmp_path / "bom.txt").write_bytes(b"\xef\xbb\xbf IMPRESSION: Edema.\0")
    assert read_report(tmp_path / "bom.txt").impression == "Edema."


@pytest.mark.parametrize(
    "text",
    [
        "FINDINGS: Clear.\nIMPRESSION: Edema.",
        "findings: Clear.\nimpression: Edema.",
        "FINDINGS\nClear.\n\nIMPRESSION\nEdema.",
        "FINDINGS: Clear. IMPRESSION: Edema.",
        "Findings :\r\n Clear.\r\n\r\nConclusion :\r\n Edema.",
        "FINDINGS: Clear.\nIMPRESSION - Edema.",
        "**Findings:** Clear.\n**Impression:** Edema.",
        "FINDINGS: Clear.\nIMPRESSION/RECOMMENDATIONS: Edema.",
        "FINDINGS: Clear.\nIMPRESSION: Edema.\nADDENDUM by the resident\nSeen again.",
        "ADDENDUM\nAn impression was added.\n____\nFINDINGS: Clear.\nIMPRESSION: Edema.",
        "WET READ: Line in place.\n____\nFINDINGS: Clear.\nIMPRESSION: Edema.",
        "IMPRESSION: Old.\nCONCLUSION: Other.\nFINDINGS: Clear.\nIMPRESSION: Edema.",
    ],
)
def test_layouts_of_one_report(text):
    sections = parse_report(text)
    assert (sections.findings_section, sections.impression) == ("Clear.", "Edema.")


def test_words_in_a_sentence_are_no_headings():
    text = "FINDINGS: The impression of a mass. No acute\nfindings\nin the chest."
    assert parse_report(text).findings_section == "The impression of a mass. No acute findings in the chest."


def test_the_comparison_ends_where_an_unheaded_paragraph_begins():
    sections = parse_report(" COMPARISON:  Chest radiograph.\n \n The lungs are clear.\n")
    assert (sections.comparison, sections.summary) == ("Chest radiograph.", "The lungs are clear.")


def test_list_numbers_go_only_where_they_count():
    assert parse_report("IMPRESSION:\n1. Wedge of T11 and\n12. rib.\n2. Edema.").impression.endswith("12. rib. Edema.")
