import numpy as np
import pytest

from biomedjourney_monai.training.text_tower.train import draw_descriptions, reported_texts


def test_drawn_descriptions_are_those_of_the_rule_based_writer():
    texts = draw_descriptions(np.random.default_rng(0), 200)
    assert len(set(texts)) > 150 and texts == draw_descriptions(np.random.default_rng(0), 200)
    assert all(word in " ".join(texts) for word in ("left pleural effusion", "moderate", "has resolved"))
    assert all(text.endswith(".") for text in texts)


def test_impression_comes_first_then_findings_without_the_rest():
    report = (
        "                 FINAL REPORT\n EXAMINATION:  CHEST (PA)\n \n HISTORY:  ___ with fever.\n \n"
        " FINDINGS:  Heart size is normal.\n There is a\n small effusion.\n \n IMPRESSION: \n \n 1. Small effusion.\n"
    )
    assert reported_texts(report) == ["1. Small effusion.", "Heart size is normal. There is a small effusion."]


def test_a_conclusion_and_a_combined_section_count():
    assert reported_texts(" CONCLUSION:  Edema.\n") == ["Edema."]
    assert reported_texts(" HISTORY: x\n\n FINDINGS AND IMPRESSION:  Clear lungs.\n") == ["Clear lungs."]


def test_without_headings_the_last_paragraph_counts():
    assert reported_texts(" FINAL REPORT\n \n Chest PA.\n \n No effusion.\n Clear lungs.") == [
        "No effusion. Clear lungs."
    ]


@pytest.mark.parametrize("report", ["x", " IMPRESSION:\n", ":", "A:B"])
def test_every_report_that_is_not_blank_has_a_text(report):
    assert all(reported_texts(report))
