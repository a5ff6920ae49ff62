import pytest

from biomedjourney_monai.preparation.reports.sections import parse_report


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
