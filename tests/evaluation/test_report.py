import html.parser
import json

import numpy as np
import pandas
import pytest

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.evaluation.evaluate import SCORES_FILE, EvaluationSettings, evaluate
from biomedjourney_monai.evaluation.judges import load_judges
from biomedjourney_monai.evaluation.report import format_days, format_number, write_report
from biomedjourney_monai.files import write_json, write_table


class Page(html.parser.HTMLParser):
    """Collects what a browser would load, and whether the tags nest."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.loads, self.text = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(attributes["alt"])
        self.loads += [attributes[name] for name in ("src", "href") if name in attributes]

    def handle_startendtag(self, tag, attributes):
        self.loads += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def _evaluated(work, models):
    content, scores = evaluate(work, load_judges(models), settings=EvaluationSettings(bootstrap=10))
    write_json(work / "metrics.json", content)
    write_table(work / SCORES_FILE, scores)
    return content


def _page(work, **options):
    counts = write_report(work, work / "report", **options)
    return Page((work / "report" / "index.html").read_text(encoding="utf-8")), counts


def test_page_is_whole_and_loads_nothing_from_outside(work, models):
    _evaluated(work, models)
    page, counts = _page(work)
    assert page.open == []
    assert all(source.startswith("data:") for source in page.loads)
    assert counts == {"shown": 10, "left out": 0}


def test_each_panel_has_five_pictures(work, models):
    _evaluated(work, models)
    page, _ = _page(work, panels=3)
    assert page.images == ["Prior", "Counterfactual", "Real next image", "Counterfactual − prior", "Real − prior"] * 3


def test_page_shows_the_numbers_of_the_evaluation(work, models):
    content = _evaluated(work, models)
    text = " ".join(_page(work)[0].text)
    for system in content["systems"]:
        for metric in ("pathology_auroc", "cmig", "kl"):
            assert format_number(system["metrics"][metric]["overall"]["value"]) in text
    assert content["judges"]["files"]["phantom_classifier.pt"] in text


def test_text_from_outside_is_escaped(work, models):
    _evaluated(work, models)
    write_report(work, work / "report")
    source = (work / "report" / "index.html").read_text(encoding="utf-8")
    assert "New &lt;b&gt;effusion&lt;/b&gt;" in source
    assert "<b>effusion</b>" not in source


def test_page_names_no_patient_or_study(work, models):
    pairs = pandas.read_parquet(work / "pairs.parquet")
    pairs["subject_id"] = "secret-subject-" + pairs["subject_id"]
    pairs["new_study_id"], pairs["prior_dicom_id"] = "secret-study", "secret-dicom"
    pairs.to_parquet(work / "pairs.parquet")
    _evaluated(work, models)
    write_report(work, work / "report")
    assert "secret" not in (work / "report" / "index.html").read_text(encoding="utf-8")


def test_baselines_alone_make_a_page(baseline_work, models):
    _evaluated(baseline_work, models)
    page, _ = _page(baseline_work, panels=2)
    assert page.images == ["Prior", "Real next image", "Real − prior"] * 2
    assert "only the two baselines" in " ".join(" ".join(page.text).split())


def test_journey_without_a_readable_picture_is_left_out_and_counted(work, models):
    _evaluated(work, models)
    (work / "images" / "j000001_new.png").write_bytes(b"not a picture")
    assert _page(work)[1] == {"shown": 9, "left out": 1}


def test_unknown_numbers_are_dashes_with_their_reason(work, models):
    pairs = pandas.read_parquet(work / "pairs.parquet").assign(anchor_age=np.nan)
    pairs.to_parquet(work / "pairs.parquet")
    _evaluated(work, models)
    text = " ".join(_page(work)[0].text)
    assert "counterfactual, CMIG: nothing to score" in text


@pytest.mark.parametrize("content", [None, "", "[]", "{}", json.dumps({"counts": {}, "systems": []})])
def test_missing_or_foreign_metrics_are_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(TableError, match="biomedjourney evaluate"):
        write_report(tmp_path, tmp_path / "report")
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("value, text", [(None, "–"), (0.12345, "0.123"), (-0.0001, "0.000"), (-0.25, "−0.250")])
def test_numbers_are_written_with_three_decimals(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize("days, text", [(0.2, "the same day"), (1.0, "1 day later"), (181.4, "181 days later")])
def test_days_are_written_in_words(days, text):
    assert format_days(days) == text
