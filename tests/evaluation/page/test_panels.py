import pandas
import pytest

from biomedjourney_monai.evaluation.page.panels import choose_panels, headline_of
from biomedjourney_monai.schema import FINDINGS


@pytest.fixture
def journeys(baseline_work):
    return pandas.read_parquet(baseline_work / "pairs.parquet")


def test_titles_say_what_changed(journeys):
    chosen = choose_panels(journeys, count=12)
    assert len(chosen) == 12
    assert chosen["journey_id"].is_unique
    for row in chosen.to_dict("records"):
        finding = next((finding for finding in FINDINGS if row["why"].startswith(finding)), None)
        if finding:
            change = row[f"new_{finding}"] - row[f"prior_{finding}"]
            assert change == (1 if row["why"].endswith("appears") else -1)


def test_every_finding_that_changes_is_shown(journeys):
    shown = {why for why in choose_panels(journeys, count=12)["why"] if "appears" in why or "resolves" in why}
    assert len(shown) >= 8


def test_same_seed_same_choice(journeys):
    one, two = (choose_panels(journeys, count=5, seed=4)["journey_id"].tolist() for _ in range(2))
    assert one == two


def test_fewer_journeys_than_wanted_are_all_shown(journeys):
    assert len(choose_panels(journeys.head(3), count=12)) == 3


@pytest.mark.parametrize(
    ("description", "title"),
    [
        ("The left pleural effusion has resolved. New small right pleural effusion.", "Pleural Effusion changes sides"),
        ("The right pneumothorax has increased and is now large.", "Pneumothorax increases"),
        ("Moderate left pleural effusion is unchanged. No pneumothorax.", "No finding changes"),
        ("New mild cardiomegaly. The pulmonary edema has improved, now mild.", "Several changes"),
        ("", "No finding changes"),
    ],
)
def test_a_headline_agrees_with_the_description(description, title):
    assert headline_of(description) == title


def test_a_finding_that_changes_sides_is_a_change(journeys):
    told = dict.fromkeys(journeys["journey_id"], "The left pleural effusion has resolved. New right pleural effusion.")
    titles = choose_panels(journeys, count=len(journeys), descriptions=told)["why"]
    assert "No finding changes" not in set(titles)
    assert "No finding changes" in set(choose_panels(journeys, count=len(journeys))["why"])
