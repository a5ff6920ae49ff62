import xml.etree.ElementTree as ElementTree

import pytest

from biomedjourney_monai.evaluation.metrics.measure import ASKED, KEPT, OTHER, REAL
from biomedjourney_monai.evaluation.page.charts import ChartRow, Dot, draw_dot_plot, measure_charts


def _number(value, low=None, high=None):
    return {"value": value, "low": low, "high": high, "count": 1, "note": ""}


def _system(name, **metrics):
    return {"name": name, "metrics": {"cmig": {"overall": _number(0.5)}}, "further": metrics}


def _charts(systems, **more):
    return [chart for charts in measure_charts({"systems": systems, **more}).values() for chart in charts]


def test_a_metric_that_nobody_has_heard_of_is_shown_under_its_own_name():
    (chart,) = _charts([_system("one", quite_new={"overall": _number(0.75, 0.2, 0.8)})])
    assert chart.measure.title == "Quite new"
    assert chart.scale == (0, 1)
    assert (chart.bars[0].at, chart.bars[0].low, chart.bars[0].high) == (75, 20, 80)


def test_numbers_beyond_one_get_a_scale_that_holds_their_intervals():
    systems = [
        _system("one", distance={"overall": _number(20.0, 10.0, 25.0)}),
        _system("two", distance={"overall": _number(30.0, 28.0, 35.0)}),
    ]
    (chart,) = _charts(systems)
    assert chart.scale == pytest.approx((8.5, 36.5))
    assert all(0 < bar.low <= bar.at <= bar.high < 100 for bar in chart.bars)


def test_small_numbers_get_a_scale_that_ends_with_them_and_begins_at_zero():
    (chart,) = _charts([_system("one", drift={"overall": _number(0.02, 0.01, 0.04)})])
    assert chart.scale == pytest.approx((0, 0.0424))


def test_the_mark_of_chance_is_on_the_scale():
    (chart,) = _charts([_system("one", severity_concordance={"overall": _number(0.1)})])
    assert chart.measure.chance == 0.5 and chart.scale == (0, 1)


def test_one_number_alone_is_in_the_middle():
    (chart,) = _charts([_system("one", distance={"overall": _number(20.0)})])
    assert chart.bars[0].at == 50


def test_metrics_of_the_main_tables_and_metrics_without_a_number_are_not_charts():
    assert _charts([_system("one", silent={"overall": _number(None)})]) == []


def test_parts_are_lined_up_across_systems():
    systems = [
        _system("one", split={"overall": _number(0.1), "inside": _number(0.2)}),
        _system("two", split={"overall": _number(0.3), "outside": _number(0.4)}),
    ]
    (chart,) = _charts(systems)
    assert chart.parts == ["inside", "outside"]
    assert chart.table["two"] == [None, _number(0.4)]


def test_charts_are_grouped_by_topic_in_the_pages_order_and_unknown_ones_come_last():
    metrics = {name: {"overall": _number(0.5)} for name in ("zebra", "fid", "identity", "effectiveness")}
    topics = measure_charts({"systems": [_system("one", **metrics)]})
    assert list(topics) == [ASKED, KEPT, REAL, OTHER]
    assert [chart.measure.key for chart in topics[OTHER]] == ["zebra"]


def test_what_was_measured_of_the_model_alone_joins_the_counterfactual():
    probes = {"journeys": 3, "metrics": {"composition_drift": {"overall": _number(0.1), "after 2": _number(0.2)}}}
    (chart,) = _charts([_system("copy-prior"), _system("counterfactual")], probes=probes)
    assert [bar.system for bar in chart.bars] == ["counterfactual"]
    assert chart.parts == ["after 2"]


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
