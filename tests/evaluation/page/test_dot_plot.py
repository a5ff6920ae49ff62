import xml.etree.ElementTree as ElementTree

from biomedjourney_monai.evaluation.page.dot_plot import ChartRow, Dot, draw_dot_plot


def _circles(svg):
    return [float(element.get("cx")) for element in ElementTree.fromstring(svg).iter("circle")]


def test_higher_scores_lie_further_right():
    dots = [Dot("a", "model", value, value - 0.05, value + 0.05) for value in (0.2, 0.5, 0.9)]
    places = _circles(draw_dot_plot([ChartRow("x", 0.5, dots)]))
    assert places == sorted(places)
    assert len(places) == 3


def test_negative_score_stays_on_the_axis_and_no_interval_draws_no_bar():
    svg = draw_dot_plot([ChartRow("x", None, [Dot("a", "model", -0.4, None, None), Dot("a", "model", 0, None, None)])])
    assert len(set(_circles(svg))) == 1
    assert "0.000" in svg


def test_dot_says_what_it_stands_for():
    svg = draw_dot_plot([ChartRow("x", None, [Dot("copy-prior", "prior", 0.731, 0.7, 0.76)])])
    assert "copy-prior: 0.731 (0.700 to 0.760)" in svg
