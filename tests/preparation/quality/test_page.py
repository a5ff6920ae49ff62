"""The pages are whole, carry no identifiers, load nothing from outside, and open in a real browser."""

import html.parser
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.preparation.quality.page import (
    choose_pairs,
    count_losses,
    count_steps,
    draw_histogram,
    write_quality_page,
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(html.parser.HTMLParser):
    """Collects what a browser would load, the text, and whether the tags nest."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, path: Path):
        super().__init__()
        self.open, self.loads, self.pictures, self.text = [], [], [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            self.pictures.append(attributes["alt"])
        self.loads += [attributes[name] for name in ("src", "href") if name in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += f" {data.strip()}"


@pytest.fixture
def work(small_mimic, tmp_path):
    folder = tmp_path / "work"
    main(["cohort", "--source", str(small_mimic), "--work", str(folder), "--report", "--processes", "1"])
    main(["journeys", "--work", str(folder)])
    main(["register", "--work", str(folder), "--size", "64", "--processes", "1", "--report"])
    return folder


def test_the_pages_hold_the_counts_of_every_step(work):
    cohort, register = Page(work / "cohort_report.html"), Page(work / "register_report.html")
    for page in (cohort, register):
        assert page.open == [] and all(source.startswith("data:") for source in page.loads)
        assert "377,110" in page.text and "157,148" in page.text and "view not PA" in page.text
    assert cohort.pictures == [] and "Pleural Effusion" in cohort.text
    assert "image unreadable" in register.text and "9,354" in register.text and "threshold 0.250" in register.text
    steps = " ".join(register.text.split())
    assert "images in the source 8 100.0 %" in steps and "journeys: two consecutive studies 4" in steps


def test_pairs_are_shown_before_and_after(work):
    page = Page(work / "register_report.html")
    assert page.pictures[:6] == [
        f"{side}: {name}"
        for side, new in (("before", "new image"), ("after", "new image, registered"))
        for name in ("prior image", new, "difference")
    ]
    assert len(page.pictures) == 3 * 6 and " best, j00000" in page.text


def test_no_identifier_is_on_a_page(work):
    studies = pd.read_parquet(work / "studies.parquet")
    known = {*studies["subject_id"], *studies["study_id"], *studies["dicom_id"], str(work)}
    for name in ("cohort_report.html", "register_report.html"):
        text = (work / name).read_text()
        assert not [number for number in known if number in text]


def test_the_same_folder_gives_the_same_bytes(work):
    pairs, counts = pd.read_parquet(work / "pairs.parquet"), json.loads((work / "register_drops.json").read_text())
    before = (work / "register_report.html").read_bytes()
    assert write_quality_page(work, pairs, counts).read_bytes() == before


def test_a_picture_that_is_lost_is_counted_not_the_end(work):
    pairs, counts = pd.read_parquet(work / "pairs.parquet"), json.loads((work / "register_drops.json").read_text())
    (work / pairs["new_image"][0]).unlink()
    page = Page(write_quality_page(work, pairs, counts))
    assert len(page.pictures) == 2 * 6 and "1 pairs could not be read" in page.text


def test_a_run_that_keeps_nothing_still_gets_its_page(work, capsys):
    (work / "register_report.html").unlink()
    line = ["register", "--work", str(work), "--size", "64", "--processes", "1", "--min-score", "1", "--report"]
    assert main(line) == 2
    page = Page(work / "register_report.html")
    assert "score below threshold 3" in page.text and "dropped: score below threshold" in page.text


def test_the_best_the_median_and_the_worst_are_chosen_once():
    scores = [0.9, np.nan, 0.1, 0.5, 0.4, 0.3, 0.8, 0.2]
    pairs = pd.DataFrame({"gradient_correlation": scores, "new_image": "x"})
    pairs["kept"] = pairs["gradient_correlation"] >= 0.25
    assert choose_pairs(pairs, per_kind=1) == [("best", 0), ("median", 4), ("worst", 2), ("worst kept", 5)]
    few = choose_pairs(pairs.iloc[:3], per_kind=2)
    assert [row for _, row in few] == [0, 2]
    assert choose_pairs(pairs.iloc[1:2]) == []


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1200, 400])
def test_a_browser_opens_the_pages_without_a_complaint(work, width):
    from playwright.sync_api import sync_playwright

    complaints, asked = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": width, "height": 900})
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        for name in ("cohort_report.html", "register_report.html"):
            tab.goto((work / name).as_uri())
            assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
            assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")  # no sideways scroll
        browser.close()
    assert complaints == []
    assert len(asked) >= 2 and all(url.startswith(("file:", "data:")) for url in asked)


SCORES = st.lists(st.floats(-1, 1), max_size=30)


def bars(svg: str, css: str) -> int:
    titles = [rect[0].text for rect in ElementTree.fromstring(svg).iter("rect") if rect.get("class") == css]
    return sum(int(re.search(r": (\d+) ", title)[1]) for title in titles)


@given(SCORES, SCORES, st.floats(-1, 1))
def test_every_score_is_in_one_bar(kept, dropped, threshold):
    svg = draw_histogram(np.array(kept), np.array(dropped), threshold=threshold)
    assert (bars(svg, "kept"), bars(svg, "dropped")) == (len(kept), len(dropped))


def test_what_is_no_number_is_left_out_and_bars_stay_within():
    svg = draw_histogram(np.array([0.3, 0.31, np.nan]), np.array([0.1, np.nan, 1.0]), threshold=0.25)
    assert (bars(svg, "kept"), bars(svg, "dropped")) == (2, 2)
    for rect in ElementTree.fromstring(svg).iter("rect"):
        assert float(rect.get("x")) >= 0 and float(rect.get("x")) + float(rect.get("width")) <= 860
    assert "threshold 0.250" in svg


def test_the_line_of_the_threshold_stands_between_the_bars():
    root = ElementTree.fromstring(draw_histogram(np.array([0.9]), np.array([0.1]), threshold=0.5))
    x = {rect.get("class"): float(rect.get("x")) for rect in root.iter("rect")}
    line = next(float(part.get("x1")) for part in root.iter("line") if part.get("class") == "threshold")
    assert x["dropped"] < line < x["kept"]
    assert line == pytest.approx(56 + (860 - 56 - 16) / 2, abs=0.1)


COHORT = {
    "images": 100,
    "studies": 60,
    "pa_images": 50,
    "kept": 40,
    "kept_by_split": {"train": 30, "validate": 4, "test": 6},
    "images_dropped": {"view unknown": 2, "view not PA": 48, "another image of the study chosen": 2},
    "studies_dropped": {},
    "images_flagged": {"burned-in annotation": 1},
}
JOURNEYS = {"kept": 20, "dropped": {"interval too long": 3}}
PAIRS = {"journeys": 20, "kept": 12, "kept_by_split": {"train": 10, "test": 2}, "dropped": {"score below threshold": 8}}


def test_steps_stand_beside_the_papers_numbers():
    steps = {step.name: (step.here, step.paper) for step in count_steps(COHORT, JOURNEYS, PAIRS)}
    assert steps["images in the source"] == (100, 377_110)
    assert steps["images that are PA"] == (50, 157_148)
    assert steps["of these in train and validate, for pretraining"] == (34, 69_846)
    assert steps["journeys: two consecutive studies"] == (20, None)
    assert steps["pairs kept"] == (12, 9_354 + 1_056 + 1_214)
    assert steps["pairs kept: validate"] == (0, 1_056)  # none is a number too


def test_steps_that_were_not_run_have_no_number():
    steps = {step.name: step.here for step in count_steps(None, None, PAIRS)}
    assert steps["images in the source"] is None and steps["journeys: two consecutive studies"] == 20
    assert not any("pairs" in step.name for step in count_steps(COHORT, None, None))


def test_reasons_come_by_frequency_and_steps_that_lost_nothing_stay():
    losses = {loss.name: loss for loss in count_losses(COHORT, JOURNEYS, PAIRS)}
    images = losses["images left out by cohort"]
    assert next(iter(images.reasons.items())) == ("view not PA", 48) and images.total == 52
    assert losses["studies left out by cohort"].total == 0
    assert losses["journeys left out by register"].reasons == {"score below threshold": 8}
    assert [loss.name for loss in count_losses(None, None, PAIRS)] == ["journeys left out by register"]
