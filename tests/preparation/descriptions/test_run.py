import pytest

from biomedjourney_monai.errors import ConfigError, SettingError, TableError
from biomedjourney_monai.preparation.descriptions.language_model import LanguageModelSettings
from biomedjourney_monai.preparation.descriptions.run import describe_pairs, describe_reports, estimate_requests


@pytest.fixture
def reports(tmp_path):
    (tmp_path / "a.txt").write_text("IMPRESSION: Small left pleural effusion.")
    (tmp_path / "b.txt").write_text("IMPRESSION: Large left pleural effusion, increased.")
    return tmp_path / "a.txt", tmp_path / "b.txt"


def test_two_reports_are_described_by_rules_or_by_the_impression(reports):
    written = describe_reports(*reports)
    assert "left pleural effusion" in written.text.lower() and written.written_by == "rules"
    assert describe_reports(*reports) == written
    assert describe_reports(*reports, text="impression").text == "Large left pleural effusion, increased."


def test_a_file_without_a_report_is_refused(reports, tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(TableError, match="--new-report"):
        describe_reports(reports[0], tmp_path / "empty.txt")


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"seed": -1}, "seed"),
        ({"only_changes": 1.5}, "only_changes"),
        ({"text": "summary"}, "text"),
    ],
)
def test_a_setting_out_of_range_is_named_and_nothing_written(tmp_path, settings, name):
    with pytest.raises(SettingError) as caught:
        describe_pairs(tmp_path, **settings)
    assert caught.value.name == name and list(tmp_path.iterdir()) == []


def test_settings_of_the_language_model_are_checked_once(reports):
    for settings, name in (
        ({"concurrency": 0}, "concurrency"),
        ({"retries": -1}, "retries"),
        ({"timeout": 0}, "timeout"),
    ):
        with pytest.raises(SettingError) as caught:
            LanguageModelSettings("m", **settings)
        assert caught.value.name == name
    with pytest.raises(ConfigError, match="--model"):
        describe_reports(*reports, model=LanguageModelSettings(None))
    with pytest.raises(ConfigError, match="only-changes"):
        describe_reports(*reports, only_changes=0.5, model=LanguageModelSettings("m"))


def test_an_estimate_needs_neither_key_nor_service(reports, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    model = LanguageModelSettings("m", base_url="https://192.0.2.1/v1", attest_zero_retention=True)
    guess = estimate_requests(model, reports=reports, input_price=1e6)
    assert (guess.requests, guess.answered) == (1, 0) and guess.cost == guess.input_tokens > 100
