import pytest

from biomedjourney_monai.generation.description_check import DescriptionError, check_description


class Words:
    """Counts words where a text encoder counts tokens."""

    context_length = 8

    def count_tokens(self, text):
        return len(text.split())


def check(text, **more):
    return check_description(text, Words(), **more)


@pytest.mark.parametrize("text", ["New left effusion.", "No acute cardiopulmonary process.", "Unchanged."])
def test_a_plain_description_passes_in_silence(text):
    assert check(text).warnings == ()


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_description_is_refused(text):
    with pytest.raises(DescriptionError) as error:
        check(text, force=True)
    assert error.value.reason == "empty_description"


def test_a_long_description_is_refused_without_repeating_it():
    text = "New left effusion " + "and so forth " * 5
    with pytest.raises(DescriptionError, match="18 tokens where the text encoder reads 8") as error:
        check(text, verbatim=True)
    assert error.value.reason == "description_too_long"
    assert "forth" not in str(error.value)


def test_a_long_description_is_rewritten_so_that_it_fits():
    found = check("New left effusion of moderate size, as was discussed at length with the ward.")
    assert found.prompt == "New moderate left pleural effusion."


def test_another_language_is_refused_with_an_example():
    with pytest.raises(DescriptionError, match="New moderate left pleural effusion") as error:
        check("Kein Pneumothorax links.")
    assert error.value.reason == "description_not_english"
    assert check("Kein Pneumothorax links.", force=True).overruled == "description_not_english"


def test_what_cannot_be_drawn_gets_a_warning():
    (warning,) = check("New left effusion and a rib fracture.").warnings
    assert "cannot_draw" in warning and "fracture" in warning


def test_verbatim_gives_the_description_as_it_is():
    assert check("L PTX, new", verbatim=True).prompt == "L PTX, new"


def test_force_cuts_a_long_description_aloud():
    found = check("New left effusion " + "and so forth " * 5, force=True, verbatim=True)
    assert found.overruled == "description_too_long"
    assert "no effect" in found.warnings[0]


@pytest.mark.parametrize("text", ["New rib fracture on the left.", "asdf"])
def test_a_description_of_nothing_that_the_model_knows_gets_a_warning(text):
    warning = check(text).warnings[0]
    assert "no_known_finding" in warning
    assert "asdf" not in warning and "fracture" not in warning
