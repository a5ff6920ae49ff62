import importlib.util

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai import errors
from biomedjourney_monai.errors import EXTRAS, BiomedJourneyError, MissingPackageError, SettingError, require_extra

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BiomedJourneyError)]
OWN_ARGUMENTS = {SettingError: ("name", "rule"), MissingPackageError: ("mlflow",)}
WORDS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"rule": "scale must be > 0"}, "scale must be > 0."),
        ({"rule": "scale must be > 0."}, "scale must be > 0."),
        ({"rule": "scale must be > 0", "found": "-1."}, "scale must be > 0; found -1."),
        ({"rule": "scale must be > 0", "action": "Pass --scale 1"}, "scale must be > 0. Pass --scale 1."),
        ({"rule": "a", "found": "b", "action": "Did you mean c?"}, "a; found b. Did you mean c?"),
    ],
)
def test_the_message_says_rule_found_and_action(parts, message):
    assert str(BiomedJourneyError(parts.pop("rule"), **parts)) == message


@given(rule=WORDS, found=WORDS, action=WORDS)
def test_every_part_is_in_the_message_once_ended(rule, found, action):
    assert str(BiomedJourneyError(rule, found=found, action=action)) == f"{rule}; found {found}. {action}."


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_can_be_caught_as_the_users(kind):
    with pytest.raises(BiomedJourneyError, match=r"rule|must be"):
        raise kind(*OWN_ARGUMENTS.get(kind, ("rule",)))


def test_all_kinds_are_looked_at():
    assert {kind.__name__ for kind in KINDS} >= {"ImageError", "TableError", "WeightsError", "ConfigError"}


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'mlflow.entities'", name="mlflow.entities"),
        ImportError("Please install mlflow before using MLFlowHandler. (No module named 'mlflow').\n\nFor details"),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_installs_it(error):
    assert str(MissingPackageError.of(error)) == (
        'mlflow must be installed for this; found no such package. Run `pip install "biomedjourney_monai[train]"`.'
    )


@pytest.mark.parametrize("message", ["", "No module named 'biomedjourney_monai.x'", "cannot import name 'a' from 'b'"])
def test_a_failed_import_of_no_extra_is_not_explained(message):
    assert MissingPackageError.of(ImportError(message)) is None


@pytest.mark.parametrize("extra", sorted(set(EXTRAS.values())))
def test_an_extra_is_asked_for_when_a_package_of_it_is_missing(extra, monkeypatch):
    require_extra(extra)
    lost = next(name for name, owner in EXTRAS.items() if owner == extra)
    monkeypatch.setattr(errors.importlib.util, "find_spec", lambda name: None if name == lost else True)
    with pytest.raises(MissingPackageError, match=rf"{lost} must be .*\[{extra}\]"):
        require_extra(extra)


def test_every_package_of_the_table_can_be_imported_here():
    assert [name for name in EXTRAS if importlib.util.find_spec(name) is None] == []
