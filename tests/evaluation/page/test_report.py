import copy
import html.parser
import json
import re

import numpy as np
import pandas
import pytest

from biomedjourney_monai.errors import ImageError, TableError
from biomedjourney_monai.evaluation.comparison import compare_systems
from biomedjourney_monai.evaluation.journeys import EvaluationSettings
from biomedjourney_monai.evaluation.judges.loading import load_judges
from biomedjourney_monai.evaluation.page.report import (
    format_days,
    format_number,
    order_subgroups,
    write_report,
)
from biomedjourney_monai.evaluation.systems.scoring import SCORES_FILE
from biomedjourney_monai.evaluation.systems.sources import read_baselines
from biomedjourney_monai.files import write_json, write_table


class Page(html.parser.HTMLParser):
    """Collects what a browser would load, and whether the tags nest."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.loads, self.text, self.labels = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(attributes["alt"])
        if attributes.get("class") == "outline":
            self.labels.append(attributes["aria-label"])
        self.loads += [attributes[name] for name in ("src", "href") if name in attributes and tag != "a"]
        assert tag != "a" or attributes["href"].startswith("#")

    def handle_startendtag(self, tag, attributes):
        self.loads += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def _evaluated(work, models):
    content, scores = compare_systems(work, load_judges(models), settings=EvaluationSettings(bootstrap=10))
    write_json(work / "metrics.json", content)
    write_table(work / SCORES_FILE, scores)
    return content


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, models, fill_work):
    """The metrics and scores of a folder like `work`."""
    return compare_systems(
        fill_work(tmp_path_factory.mktemp("evaluated")), load_judges(models), settings=EvaluationSettings(bootstrap=10)
    )


def _as_evaluated(work, evaluated):
    content, scores = copy.deepcopy(evaluated[0]), evaluated[1]
    write_json(work / "metrics.json", content)
    write_table(work / SCORES_FILE, scores)
    return content


def _page(work, **options):
    report = write_report(work, tracking_uri="none", **({"judge_weights": work / "nowhere"} | options))
    return Page(report.page.read_text(encoding="utf-8")), report


def test_page_is_whole_and_loads_nothing_from_outside(work, evaluated):
    _as_evaluated(work, evaluated)
    page, report = _page(work)
    assert page.open == []
    assert all(source.startswith("data:") for source in page.loads)
    assert (report.shown, report.left_out) == (10, 0)


def test_each_panel_has_five_pictures(work, evaluated):
    _as_evaluated(work, evaluated)
    page, report = _page(work, panels=3)
    five = ["Prior", "Counterfactual", "Real next image", "Counterfactual − prior", "Real − prior"]
    assert page.images == five * (3 + 6), "three chosen by what changed, and the three best and worst"
    assert report.no_judges == "the judges' weights are not in the folder given"


def test_the_evaluations_judges_add_heat_maps_and_contours(work, evaluated, models):
    _as_evaluated(work, evaluated)
    page, report = _page(work, panels=3, judge_weights=models)
    assert report.no_judges == ""
    assert sum(name.startswith("Judge: ") for name in page.images) == 3 + 6
    assert page.labels.count("Prior with contours of six structures") == 3


def test_systems_stand_side_by_side_and_the_patients_are_described(work, models):
    import shutil

    shutil.copytree(work / "samples", work / "baselines" / "rival")
    rivals = read_baselines(work, size=32)
    content, scores = compare_systems(
        work, load_judges(models), settings=EvaluationSettings(bootstrap=10), others=rivals
    )
    write_json(work / "metrics.json", content)
    write_table(work / SCORES_FILE, scores)
    write_json(work / "cohort_drops.json", {"eligibility": "labelled"})
    page, _ = _page(work, panels=1)
    side_by_side = ["Prior", "Rival", "Counterfactual", "Real next image"]
    assert "|".join(side_by_side * 3) in "|".join(page.images)
    text = " ".join(" ".join(page.text).split())
    assert (
        "Systems side by side" in text
        and re.search(r"test, [0-9]+ patients", text)
        and "cohort --eligibility finding" in text
    )


def test_other_judges_draw_nothing_and_the_page_says_so(work, evaluated, models, tmp_path):
    import shutil

    content = _as_evaluated(work, evaluated)
    content["judges"]["files"]["phantom_classifier.pt"] = "0" * 64
    write_json(work / "metrics.json", content)
    page, report = _page(work, panels=3, judge_weights=shutil.copytree(models, tmp_path / "again"))
    assert "not those of the evaluation" in report.no_judges
    assert report.no_judges in " ".join(" ".join(page.text).split())
    assert page.labels == []


def test_a_metric_that_is_new_is_shown_with_its_reason_or_number(work, evaluated):
    content = _as_evaluated(work, evaluated)
    for n, system in enumerate(content["systems"]):
        number = {"value": 40.5 + n, "low": 30.0, "high": 50.0, "count": 3, "note": ""}
        system["novel"] = {"martian_distance": {"overall": number, "polar cap": number}}
        system["novel"]["venus"] = {"overall": dict.fromkeys(("value", "low", "high")) | {"note": "too hot"}}
    write_json(work / "metrics.json", content)
    text = " ".join(" ".join(_page(work)[0].text).split())
    assert "Martian distance" in text and "42.5" in text and "polar cap" in text
    assert "Venus too hot copy-prior, counterfactual, real reference" in text


def test_the_papers_tables_stand_beside_marked_as_another_data_set(work, evaluated):
    _as_evaluated(work, evaluated)
    text = " ".join(" ".join(_page(work)[0].text).split())
    for number, figure in ((1, "0.794"), (3, "0.886"), (4, "0.810")):
        assert f"Table {number}." in text and figure in text
    assert text.count("another data set (MIMIC-CXR)") == 3


def test_an_ablation_that_is_not_there_is_refused(work, evaluated):
    _as_evaluated(work, evaluated)
    with pytest.raises(TableError, match="biomedjourney ablation"):
        _page(work, ablation=work)


def test_a_ladder_without_a_strip_is_refused(work, evaluated):
    _as_evaluated(work, evaluated)
    with pytest.raises(ImageError, match="biomedjourney ladder"):
        _page(work, ladders=[work])


def test_groups_are_in_the_order_of_life():
    bands = {"75 and over": 1, "under 40": 2, "60 to 74": 3, "40 to 59": 4, "unknown": 5}
    ordered = order_subgroups({"age": bands, "race": {}, "sex": {}})
    assert list(ordered) == ["sex", "age", "race"]
    assert list(ordered["age"]) == ["under 40", "40 to 59", "60 to 74", "75 and over", "unknown"]


def test_page_shows_the_numbers_of_the_evaluation(work, evaluated):
    content = _as_evaluated(work, evaluated)
    text = " ".join(_page(work)[0].text)
    for system in content["systems"]:
        for metric in ("pathology_auroc", "cmig", "kl"):
            assert format_number(system["metrics"][metric]["overall"]["value"]) in text
    assert content["judges"]["files"]["phantom_classifier.pt"] in text


def test_text_from_outside_is_escaped(work, evaluated):
    _as_evaluated(work, evaluated)
    write_report(work, tracking_uri="none")
    source = (work / "report" / "index.html").read_text(encoding="utf-8")
    assert "New &lt;b&gt;effusion&lt;/b&gt;" in source
    assert "<b>effusion</b>" not in source


def test_page_names_no_patient_or_study(work, models):
    pairs = pandas.read_parquet(work / "pairs.parquet")
    pairs["subject_id"] = "secret-subject-" + pairs["subject_id"]
    pairs["new_study_id"], pairs["prior_dicom_id"] = "secret-study", "secret-dicom"
    pairs.to_parquet(work / "pairs.parquet")
    _evaluated(work, models)
    write_report(work, tracking_uri="none")
    assert "secret" not in (work / "report" / "index.html").read_text(encoding="utf-8")


def test_baselines_alone_make_a_page(baseline_work, models):
    _evaluated(baseline_work, models)
    page, _ = _page(baseline_work, panels=2)
    assert page.images == ["Prior", "Real next image", "Real − prior"] * 2, "no best and worst without a model"
    assert "only the two baselines" in " ".join(" ".join(page.text).split())


def test_journey_without_a_readable_picture_is_left_out_and_counted(work, evaluated):
    _as_evaluated(work, evaluated)
    (work / "images" / "j000001_new.png").write_bytes(b"not a picture")
    page, report = _page(work)
    assert report.shown == 9 and report.left_out >= 1
    assert "pictures of this page" in " ".join(page.text)


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
        write_report(tmp_path, tracking_uri="none")
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("value, text", [(None, "–"), (0.12345, "0.123"), (-0.0001, "0.000"), (-0.25, "−0.250")])
def test_numbers_are_written_with_three_decimals(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize("days, text", [(0.2, "the same day"), (1.0, "1 day later"), (181.4, "181 days later")])
def test_days_are_written_in_words(days, text):
    assert format_days(days) == text
