import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.preparation.quality.histogram import draw_histogram

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
