import pytest

from biomedjourney_monai.evaluation.report_further import further_charts


def _number(value, low=None, high=None):
    return {"value": value, "low": low, "high": high, "count": 1, "note": ""}


def _system(name, **metrics):
    return {"name": name, "metrics": {"cmig": {"overall": _number(0.5)}}, "further": metrics}


def test_a_metric_that_nobody_has_heard_of_is_shown_under_its_own_name():
    (chart,) = further_charts([_system("one", quite_new={"overall": _number(0.25, 0.2, 0.3)})])
    assert chart.text.name == "Quite new"
    assert chart.scale == (0, 1)
    assert (chart.bars[0].at, chart.bars[0].low, chart.bars[0].high) == (25, 20, 30)


def test_numbers_beyond_one_get_a_scale_that_holds_their_intervals():
    systems = [
        _system("one", distance={"overall": _number(20.0, 10.0, 25.0)}),
        _system("two", distance={"overall": _number(30.0, 28.0, 35.0)}),
    ]
    (chart,) = further_charts(systems)
    assert chart.scale == pytest.approx((8.5, 36.5))
    assert all(0 < bar.low <= bar.at <= bar.high < 100 for bar in chart.bars)


def test_one_number_alone_is_in_the_middle():
    (chart,) = further_charts([_system("one", distance={"overall": _number(20.0)})])
    assert chart.bars[0].at == 50


def test_metrics_of_the_main_tables_and_metrics_without_a_number_are_not_charts():
    assert further_charts([_system("one", silent={"overall": _number(None)})]) == []


def test_parts_are_lined_up_across_systems():
    systems = [
        _system("one", split={"overall": _number(0.1), "inside": _number(0.2)}),
        _system("two", split={"overall": _number(0.3), "outside": _number(0.4)}),
    ]
    (chart,) = further_charts(systems)
    assert chart.parts == ["inside", "outside"]
    assert chart.table["two"] == [None, _number(0.4)]
