"""The page in a real browser, without a network: no error in the console, every picture decoded, nothing too wide."""

import shutil

import numpy as np
import pandas
import pytest

from biomedjourney_monai.evaluation.comparison import compare_systems
from biomedjourney_monai.evaluation.journeys import EvaluationSettings
from biomedjourney_monai.evaluation.judges.loading import load_judges
from biomedjourney_monai.evaluation.page.report import write_report
from biomedjourney_monai.evaluation.systems.scoring import SCORES_FILE
from biomedjourney_monai.files import write_json, write_table
from biomedjourney_monai.radiographs import save_png

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDE, NARROW = 1360, 390


@pytest.fixture
def page_file(work, models):
    """A page with every section: contours, heat maps, registration, journeys, subgroups, failures."""
    pairs = pandas.read_parquet(work / "pairs.parquet")
    pairs["shift_x_px"] = np.arange(len(pairs), dtype=float)
    pairs["new_dicom_id"] = [f"d{n}" for n in range(len(pairs))]
    pairs["new_study_id"] = [f"t{n}" for n in range(1, len(pairs) + 1)]
    pairs["prior_study_id"] = [f"t{n}" for n in range(len(pairs))]
    pairs["sex"] = ["F", "M"] * (len(pairs) // 2)
    for name in pairs["new_dicom_id"]:
        save_png(work / "images" / f"{name}.png", np.random.default_rng(5).random((32, 32)))
    pairs.to_parquet(work / "pairs.parquet")
    content, scores = compare_systems(work, load_judges(models), settings=EvaluationSettings(bootstrap=5))
    write_json(work / "metrics.json", content)
    write_table(work / SCORES_FILE, scores)
    write_report(work, panels=4, judge_weights=models, tracking_uri="none")
    return work / "report" / "index.html"


@pytest.fixture
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; Debian's package is chromium")
    with playwright.sync_playwright() as engine:
        chromium = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def test_the_page_loads_in_a_browser_without_errors(page_file, browser):
    complaints, asked = [], []
    context = browser.new_context(offline=True, viewport={"width": WIDE, "height": 900})
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    assert complaints == []
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []

    page.evaluate("document.querySelectorAll('img').forEach(image => image.loading = 'eager')")
    page.wait_for_function("[...document.images].every(image => image.complete)")
    sizes = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(sizes) > 30 and min(sizes) > 0, "a picture that cannot be decoded has no width"
    outlines = page.evaluate("[...document.querySelectorAll('svg.outline path')].map(path => path.getTotalLength())")
    assert outlines and min(outlines) > 0

    for link in page.query_selector_all("nav a"):
        assert page.query_selector(link.get_attribute("href")), "a link of the page leads nowhere"
    headings = page.evaluate("[...document.querySelectorAll('h2')].map(heading => heading.textContent)")
    assert {"Pictures", "Best and worst", "Anatomy", "Registration", "Journeys", "For whom"} <= set(headings)

    page.evaluate("document.querySelector('#registration').scrollIntoView({behavior: 'instant'})")
    on_top = "[...document.querySelectorAll('.key span')].every(s => { const b = s.getBoundingClientRect();"
    on_top += " return s.contains(document.elementFromPoint(b.x + b.width / 2, b.y + b.height / 2)) && b.y < 90; })"
    assert page.evaluate(on_top), "the colour key stays in view below the menu"

    for width in (WIDE, NARROW):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page itself scrolls sideways"
