import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.preparation.descriptions import checker
from biomedjourney_monai.preparation.descriptions.cases import compare_reports
from biomedjourney_monai.preparation.descriptions.checker import check_description
from biomedjourney_monai.preparation.reports.sections import parse_report

PRIOR = "Small left pleural effusion. Moderate right pneumothorax. Mild edema. No cardiomegaly. Left rib fracture."
NEW = (
    "Large left pleural effusion, increased. Resolved right pneumothorax. Mild edema is unchanged. Possible pneumonia."
    " New small right pleural effusion. Mild cardiomegaly. No consolidation. Pacemaker."
)


def check(description: str, prior: str = PRIOR, new: str = NEW) -> list[str]:
    case = compare_reports(*(parse_report(f"IMPRESSION: {text}") for text in (prior, new)))
    return check_description(description, case.prior, case.new)


@pytest.mark.parametrize(
    "description",
    [
        "The left pleural effusion has increased and is now large. Resolution of the right pneumothorax.",
        "New mild cardiomegaly. Mild pulmonary edema is unchanged. Possible pneumonia.",
        "New small right pleural effusion, larger left effusion. No consolidation.",
        "Previously seen right pneumothorax is no longer present. A pacemaker is now in place.",
        "Bilateral pleural effusions, large on the left and small on the right. Left rib fracture.",
        "Cardiomegaly has developed.",
    ],
)
def test_what_is_borne_out_stands(description):
    assert check(description) == []


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ("The right pleural effusion is now large. New cardiomegaly.", checker.WRONG_SEVERITY),
        ("Resolution of the left pneumothorax.", checker.WRONG_SIDE),
        ("Resolution of cardiomegaly and the right pneumothorax.", checker.NEVER_THERE),
        ("There is now left atelectasis. New cardiomegaly.", checker.NOT_SHOWN),
        ("New consolidation and mild cardiomegaly.", checker.NEGATED),
        ("New right pneumothorax.", checker.NEGATED),
        ("The edema has worsened. New mild cardiomegaly.", checker.WRONG_TREND),
        ("The left pleural effusion has decreased.", checker.WRONG_TREND),
        ("The left pleural effusion is unchanged.", checker.WRONG_TREND),
        ("No pleural effusion. New mild cardiomegaly.", checker.DENIES),
        ("The left effusion has resolved. New mild cardiomegaly.", checker.DENIES),
        ("New left pleural effusion.", checker.NOT_NEW),
        ("New pneumonia and mild cardiomegaly.", checker.CERTAIN),
        ("No atelectasis. New mild cardiomegaly.", checker.UNSUPPORTED_DENIAL),
        ("No change since the prior study.", checker.NO_CHANGE),
        ("Mild edema persists in both lungs.", checker.MISSES_CHANGE),
        ("New cardiomegaly. Lung nodule.", checker.NOT_SHOWN),
        ("New cardiomegaly and a hiatal hernia.", checker.NOT_SHOWN),
        ("New cardiomegaly. A chest tube is now in place.", checker.NOT_SHOWN),
        ("New cardiomegaly. Worsening in the right base.", checker.WRONG_SIDE),
        ("New cardiomegaly. Small R pleural effusion.", checker.UNCLEAR_SIDE),
        ("New cardiomegaly. Contralateral pleural effusion.", checker.UNCLEAR_SIDE),
        ("New cardiomegaly since 03/04/2019.", checker.IDENTIFIER),
        ("New cardiomegaly since ___.", checker.IDENTIFIER),
        ("Worse.", checker.TOO_SHORT),
        ("New mild cardiomegaly. " * 40, checker.TOO_LONG),
    ],
)
def test_what_is_not_borne_out_has_a_reason(description, reason):
    assert reason in check(description)


def test_a_side_swapped_in_any_sentence_is_caught():
    description = (
        "The left pleural effusion is now large. New small right effusion. Resolution of the right pneumothorax."
    )
    assert check(description) == []
    parts = description.split(". ")
    for index, part in enumerate(parts):
        swapped = part.replace("left", "@").replace("right", "left").replace("@", "right")
        assert check(". ".join([*parts[:index], swapped, *parts[index + 1 :]])) != []


@pytest.mark.parametrize(
    "description",
    [
        "There is now a large right pleural effusion. Stable large left pleural effusion.",
        "New large right pleural effusion. The left effusion persists.",
        "Unchanged large left effusion.",
    ],
)
def test_a_change_on_the_other_side_is_caught_where_both_sides_are_there(description):
    prior, new = "Large right effusion.", "New large left effusion. Stable large right effusion."
    assert check(description, prior, new) != []
    assert check("There is now a large left effusion. Stable large right effusion.", prior, new) == []


def test_a_report_that_passes_a_finding_over_does_not_call_it_gone():
    assert checker.PASSED_OVER in check("The edema has resolved. New left effusion.", "Edema.", "Left effusion.")
    assert check("The edema has resolved.", "Edema.", "The lungs are clear.") == []


def test_reasons_quote_nothing():
    reasons = check("New right pneumothorax seen by Dr. Smith on 03/04/2019. Hernia in the left base.")
    assert reasons and all("Smith" not in reason and "2019" not in reason for reason in reasons)


@given(st.text(max_size=200))
def test_any_text_is_checked(text):
    assert all(isinstance(reason, str) for reason in check(text))
