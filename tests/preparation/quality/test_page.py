"""The pages are whole, carry no identifiers, load nothing from outside, and open in a real browser."""

import html.parser
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.preparation.quality.page import write_quality_page
from biomedjourney_monai.preparation.quality.pair_pictures import choose_pairs

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
