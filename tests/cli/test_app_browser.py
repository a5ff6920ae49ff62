"""The web page in a real browser: upload, generate, see, download; wrong files; two users; nothing leaves loopback."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from biomedjourney_monai.cli.main import main

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
).split()
PATIENT = "ZZTOP^HERMINE"
TEXT = "New large left pleural effusion QQMARKER."
STEPS = 2

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="no /usr/bin/chromium; apt-get install chromium")


@pytest.fixture(scope="module")
def server(bundle, random_model, tmp_path_factory):
    """`biomedjourney app` as it is started, at a free port, logging all that it can: (address, log file, TMPDIR)."""
    folder = tmp_path_factory.mktemp("server")
    log, temporary = folder / "log.txt", folder / "tmp"
    temporary.mkdir()
    command = [sys.executable, "-m", "biomedjourney_monai.cli.main", "app", "--port", "0", "--log-level", "debug"]
    command += ["--bundle", str(bundle), "--model", str(random_model), "--waiting", "3"]
    environment = {**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)
    try:
        yield wait_for_address(process, log), log, temporary
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_for_address(process, log, seconds=300):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        found = re.search(r"the page is at (http://127\.0\.0\.1:\d+/)", log.read_text(errors="replace"))
        if found:
            return found[1]
        time.sleep(0.2)
    raise AssertionError(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, server):
    """Opens the page as another user; what is asked for, said in the console, or popped up is kept on the page."""
    contexts = []

    def open_one(width=1400):
        context = browser.new_context(viewport={"width": width, "height": 1000}, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(300_000)
        page.asked, page.said = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("dialog", lambda dialog: (page.said.append("dialog"), dialog.dismiss()))
        page.goto(server[0])
        return page

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def chest(tmp_path, rendered_chest):
    path = tmp_path / f"{PATIENT} <script>alert(1)<&>.png"
    Image.fromarray(np.rint(rendered_chest[:, 15:165] * 255).astype(np.uint8)).save(path)
    return path


def upload(page, path):
    page.set_input_files("#file", str(path))
    page.wait_for_selector("#loaded:visible")


def fill(page, *, text=TEXT, seed=5, steps=STEPS, samples=1):
    page.fill("#description", text)
    for name, value in (("seed", seed), ("steps", steps), ("samples", samples)):
        page.fill(f"#{name}", str(value))


def generate(page):
    page.click("#go")
    page.wait_for_selector("#result:visible")


def wait_for_state(page, pattern):
    page.locator("#state", has_text=re.compile(pattern)).wait_for()  # the page's policy forbids wait_for_function


def download(page, name):
    with page.expect_download() as waiting:
        page.click(f"#d-{name}")
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


@pytest.fixture
def sample(bundle, random_model, tmp_path):
    """`biomedjourney sample` with the form's defaults."""

    def run(prior, out, *, seed=5):
        line = ["sample", "--prior", str(prior), "--description", TEXT, "--out", str(tmp_path / out)]
        line += ["--seed", str(seed), "--steps", str(STEPS), "--bundle", str(bundle), "--model", str(random_model)]
        assert main(line) == 0
        return (tmp_path / out).read_bytes()

    return run


def test_upload_generate_see_and_download(open_page, server, chest, sample):
    page = open_page()
    upload(page, chest)
    assert page.inner_text("#prior-facts").startswith("PNG, 150 × 180 pixels")
    fill(page)
    generate(page)
    for name in ("prior", "counterfactual", "difference", "heat"):
        picture = page.locator(f"#p-{name}")
        assert picture.is_visible()
        assert picture.evaluate("image => image.complete && image.naturalWidth") == 640
    assert page.inner_text("#r-description") == TEXT
    assert page.locator("#bars .finding").count() == 5
    assert page.locator("#bars .asked b").all_inner_texts() == ["Pleural Effusion"]
    assert not page.locator("#f-spread").is_visible()
    assert download(page, "png") == ("counterfactual.png", sample(chest, "a.png"))
    assert download(page, "dicom") == ("counterfactual.dcm", sample(chest, "a.dcm"))
    name, report = download(page, "report")
    assert name == "report.html"
    assert TEXT in report.decode() and "SYNTHETIC - NOT FOR DIAGNOSIS" in report.decode()
    name, archive = download(page, "all")
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        assert {"counterfactual.png", "counterfactual.dcm", "report.html", "request.json"} <= set(files.namelist())
    assert page.said == []
    local = ("data:", f"blob:{server[0]}", server[0])
    assert [url for url in page.asked if not url.startswith(local)] == []
    assert len([url for url in page.asked if url.startswith(server[0])]) >= 6


def test_the_report_loads_nothing_and_shows_its_pictures(open_page, browser, chest, tmp_path):
    page = open_page()
    upload(page, chest)
    fill(page, samples=2)
    generate(page)
    (tmp_path / "report.html").write_bytes(download(page, "report")[1])
    report = page.context.new_page()
    asked = []
    report.on("request", lambda request: asked.append(request.url))
    report.goto((tmp_path / "report.html").as_uri())
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    widths = report.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(widths) == 5 + 2 and min(widths) > 100


def test_the_slider_uncovers_the_counterfactual(open_page, chest):
    page = open_page()
    upload(page, chest)
    fill(page)
    generate(page)
    assert page.get_attribute("#w-before", "src") == page.get_attribute("#p-prior", "src")
    assert page.get_attribute("#w-after", "src") == page.get_attribute("#p-counterfactual", "src")
    cut = "getComputedStyle(document.getElementById('w-before')).clipPath"
    page.evaluate("at('cut').value = 20; at('cut').dispatchEvent(new Event('input'))")
    assert page.evaluate(cut).startswith("inset(0px calc(80%) 0px 0px") or "80%" in page.evaluate(cut)
    page.focus("#cut")
    page.keyboard.press("End")
    assert page.evaluate("at('wipe').style.getPropertyValue('--cut')") == "100%"
    page.click("label:has(input[name=against][value=difference]) span")  # the button itself is not shown
    assert page.get_attribute("#w-after", "src") == page.get_attribute("#p-difference", "src")


def test_several_samples_show_their_spread(open_page, chest):
    page = open_page(width=800)
    upload(page, chest)
    fill(page, samples=3)
    generate(page)
    assert page.locator("#p-spread").evaluate("image => image.naturalWidth") == 640
    assert "3 samples" in page.inner_text("#f-spread")
    assert page.locator("#samples-shown img").count() == 3
    assert page.evaluate("document.documentElement.scrollWidth") <= 800


def test_a_suggestion_becomes_the_description(open_page):
    page = open_page()
    page.select_option("#s-change", "worse")
    page.select_option("#s-finding", "Pneumothorax")
    page.select_option("#s-severity", "large")
    page.select_option("#s-side", "right")
    page.click("#replace")
    page.select_option("#s-change", "resolved")
    page.select_option("#s-finding", "Edema")
    page.click("#add")
    assert page.input_value("#description") == (
        "The right pneumothorax has increased and is now large. Pulmonary edema has resolved."
    )


def test_an_example_is_taken(open_page):
    page = open_page()
    page.click("[data-example='0']")
    page.wait_for_selector("#loaded:visible")
    fill(page)
    assert page.inner_text("#go") == "Make the counterfactual"
    assert page.is_enabled("#go")


def test_a_box_is_drawn_and_kept_to(open_page, chest, rendered_chest):
    page = open_page()
    upload(page, chest)
    fill(page)
    page.check("input[name=region][value=box]", force=True)
    assert page.inner_text("#go") == "Draw the box first"
    page.locator("#stage").scroll_into_view_if_needed()
    frame = page.evaluate("(() => { const f = imageFrame(); return [f.left, f.top, f.width, f.height]; })()")
    left, top, width, height = frame
    page.mouse.move(left + 0.5 * width, top + 0.5 * height)
    page.mouse.down()
    page.mouse.move(left + 1.2 * width, top + 0.9 * height, steps=4)
    page.mouse.up()
    assert page.is_visible("#box")
    generate(page)
    with Image.open(io.BytesIO(download(page, "png")[1])) as picture:
        made, facts = np.asarray(picture).astype(float), picture.text
    assert facts["region"].startswith("mask ")
    prior = page.evaluate("at('p-prior').src")
    assert prior.startswith("data:image/png")
    upper_half_of_the_other_side = made[40:85, 5:65] / 255
    reference = rendered_chest[40:85, 20:80]
    assert np.corrcoef(upper_half_of_the_other_side.ravel(), reference.ravel())[0, 1] > 0.97


def test_a_box_is_placed_by_keyboard(open_page, chest):
    page = open_page()
    upload(page, chest)
    fill(page)
    page.check("input[name=region][value=box]", force=True)
    page.focus("#stage")
    for key in ("ArrowLeft", "ArrowLeft", "ArrowDown", "Shift+ArrowDown"):
        page.keyboard.press(key)
    assert page.evaluate("state.box.map((side) => Math.round(100 * side))") == [23, 27, 73, 79]
    assert "23 % to 73 % of the width" in page.inner_text("#box-words")
    assert page.is_enabled("#go")


def test_results_stay_in_reach_and_the_newest_has_the_focus(open_page, chest, sample):
    page = open_page(width=1280)
    upload(page, chest)
    fill(page, seed=21)
    generate(page)
    assert page.evaluate("document.activeElement.id") == "result-title"
    tops = "[...document.querySelectorAll('.pictures figure')].filter((f) => !f.hidden).map((f) => f.offsetTop)"
    assert len(page.evaluate(tops)) == 4 and len(set(page.evaluate(tops))) == 1, "four pictures fit in one row"
    assert not page.is_visible("#history")
    fill(page, seed=22)
    page.click("#go")
    page.wait_for_selector("#history:visible")
    first = page.locator("#history-shown button").first
    first.click()
    assert page.locator("#history-shown [aria-current]").get_attribute("aria-label").startswith("Result 1:")
    assert download(page, "png")[1] == sample(chest, "21.png", seed=21)
    assert page.said == []


def test_pictures_are_enlarged_with_zoom_window_and_level(open_page, chest):
    page = open_page()
    upload(page, chest)
    fill(page)
    generate(page)
    page.click("#p-counterfactual")
    page.wait_for_selector("#large[open]")
    style = "at('large-picture').style"
    assert page.inner_text("#v-mark") == "SYNTHETIC"
    for key in ("+", "+", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.evaluate(f"{style}.transform") == "translate(40px, 0px) scale(1.5625)"
    page.evaluate("at('v-window').value = 0.5; at('v-window').dispatchEvent(new Event('input'))")
    assert page.evaluate(f"{style}.filter") == "brightness(1) contrast(2)"
    page.locator("#v-pictures input").first.check(force=True)
    assert page.inner_text("#v-mark") == "PRIOR"
    assert page.get_attribute("#large-picture", "src") == page.get_attribute("#p-prior", "src")
    assert page.evaluate(f"{style}.transform") == "translate(40px, 0px) scale(1.5625)", "the view stays"
    page.click("#v-reset")
    assert page.evaluate(f"{style}.filter") == ""
    page.keyboard.press("Escape")
    assert not page.is_visible("#large")
    page.click("#w-large")  # the slider's two pictures, zoomed and moved together
    for key in ("+", "ArrowUp"):
        page.keyboard.press(key)
    assert page.get_attribute("#large-before", "src") == page.get_attribute("#p-prior", "src")
    assert page.get_attribute("#large-picture", "src") == page.get_attribute("#p-counterfactual", "src")
    assert page.evaluate("at('large-before').style.transform") == page.evaluate(f"{style}.transform")
    page.evaluate("at('v-cut').value = 20; at('v-cut').dispatchEvent(new Event('input'))")
    assert "80%" in page.evaluate("getComputedStyle(at('v-before')).clipPath")
    boxes = [page.locator(f"#large-{name}").bounding_box() for name in ("before", "picture")]
    assert boxes[0] == boxes[1]
    page.keyboard.press("Escape")
    assert page.said == []


def test_a_reload_keeps_the_form_without_the_image(open_page, chest):
    page = open_page()
    upload(page, chest)
    fill(page, seed=33, steps=4)
    page.reload()
    assert (page.input_value("#description"), page.input_value("#seed"), page.input_value("#steps")) == (
        TEXT,
        "33",
        "4",
    )
    assert "Choose the prior again" in page.inner_text("#prior-messages")
    assert page.evaluate("sessionStorage.getItem('form').includes('data:image')") is False
    page.click("[data-example='0']")
    page.wait_for_selector("#loaded:visible")
    page.reload()
    page.wait_for_selector("#loaded:visible")
    assert page.is_enabled("#go")


NO_IMAGES = {
    "picture.png": b"<!doctype html><script>alert(1)</script>",
    "drawing.png": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    "chest.dcm": b"not DICOM",
    "cut.png": b"\x89PNG\r\n\x1a\n cut",
}


@pytest.mark.parametrize("name", NO_IMAGES)
def test_a_wrong_file_is_told_in_words(open_page, tmp_path, name):
    (tmp_path / name).write_bytes(NO_IMAGES[name])
    page = open_page()
    page.set_input_files("#file", str(tmp_path / name))
    page.wait_for_selector("#prior-messages .error")
    assert re.search(r"must be (a JPEG, PNG or DICOM|whole)", page.inner_text("#prior-messages"))
    assert not page.is_visible("#loaded")
    assert not page.is_enabled("#go")
    assert "dialog" not in page.said


def test_a_refused_prior_may_be_overruled(open_page, chest, tmp_path):
    with Image.open(chest) as picture:
        picture.rotate(180).save(tmp_path / "turned.png")
    page = open_page()
    upload(page, tmp_path / "turned.png")
    assert "upright" in page.inner_text("#prior-messages")
    fill(page)
    page.click("#go")
    page.wait_for_selector("#messages .error")
    assert "upright" in page.inner_text("#messages")
    page.check("#force")
    generate(page)
    assert "overruled (rotated)" in page.inner_text("#r-messages")


def test_two_users_at_once_get_each_their_own(open_page, chest, sample):
    first, second = open_page(), open_page()
    for page, seed in ((first, 11), (second, 12)):
        upload(page, chest)
        fill(page, seed=seed)
    first.click("#go")
    second.click("#go")
    for page, seed in ((first, 11), (second, 12)):
        page.wait_for_selector("#result:visible")
        assert download(page, "png")[1] == sample(chest, f"{seed}.png", seed=seed)


def test_a_cancelled_request_frees_the_page(open_page, chest):
    page = open_page()
    upload(page, chest)
    fill(page, steps=100, samples=16)
    page.click("#go")
    wait_for_state(page, "step [1-9]")
    page.click("#cancel")
    page.wait_for_selector("#messages .warning")
    assert page.inner_text("#messages") == "Cancelled. Nothing was made."
    fill(page)
    generate(page)


def test_a_full_house_is_told_in_words(open_page, chest):
    pages = [open_page() for _ in range(4)]  # the server takes three
    for page in pages:
        upload(page, chest)
        fill(page, steps=100, samples=16)
    for page in pages[:3]:
        page.click("#go")
        wait_for_state(page, "step|ahead")
    assert "ahead" in pages[2].inner_text("#state")
    pages[3].click("#go")
    pages[3].wait_for_selector("#messages .error")
    assert "takes 3 requests at a time" in pages[3].inner_text("#messages")
    for page in pages[:3]:
        page.click("#cancel")
        page.wait_for_selector("#messages .warning")


def test_names_and_tags_never_become_markup_and_nothing_of_a_patient_is_logged(
    open_page, server, tmp_path, dicom_chest
):
    _, log, temporary = server
    path = tmp_path / f"{PATIENT}.dcm"
    path.write_bytes(dicom_chest(PatientName=f"{PATIENT}<script>alert(1)</script>", PatientID="../../x"))
    page = open_page()
    upload(page, path)
    fill(page)
    generate(page)
    made = pydicom.dcmread(io.BytesIO(download(page, "dicom")[1]))
    assert str(made.PatientName) == f"{PATIENT}<script>alert(1)</script>"
    assert made.PatientID == "../../x"
    assert "ZZTOP" not in page.content()
    assert "ZZTOP" not in download(page, "report")[1].decode()
    assert "dialog" not in page.said
    logged = log.read_text(errors="replace")
    assert logged.count("POST make") >= 1  # it does log
    for word in ("ZZTOP", "HERMINE", "MRN12345", "../../x", "QQMARKER", "<script>", "DOE", "ACC77"):
        assert word not in logged, word
    assert list(temporary.rglob("*")) == []
