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
        check(text)
    assert error.value.reason == "description_too_long"
    assert "forth" not in str(error.value)


def test_force_cuts_a_long_description_aloud():
    found = check("New left effusion " + "and so forth " * 5, force=True)
    assert found.overruled == "description_too_long"
    assert "no effect" in found.warnings[0]


@pytest.mark.parametrize("text", ["New rib fracture on the left.", "asdf"])
def test_a_description_of_nothing_that_the_model_knows_gets_a_warning(text):
    (warning,) = check(text).warnings
    assert "no_known_finding" in warning
    assert "asdf" not in warning and "fracture" not in warning
