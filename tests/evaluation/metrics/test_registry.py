from biomedjourney_monai.evaluation.metrics.measure import FURTHER, OTHER, PAPER, PROBES, TOPICS
from biomedjourney_monai.evaluation.metrics.registry import HEADLINES, MAIN_TABLE, MEASURES, measure_of


def test_every_measure_has_its_own_key_a_meaning_and_a_place():
    keys = [measure.key for measure in MEASURES]
    assert len(keys) == len(set(keys))
    for measure in MEASURES:
        assert measure.title and measure.meaning
        assert measure.topic in ("", *TOPICS)
        assert measure.section in (PAPER, FURTHER, PROBES)


def test_the_page_has_every_measure_of_the_paper_in_its_tables_or_charts():
    assert {measure.section for measure in MAIN_TABLE} == {PAPER}
    assert [measure.key for measure in MAIN_TABLE][-1] == "kl", "lower is better comes last"


def test_headlines_are_in_every_table_of_comparison():
    assert all(measure.ablation and measure.in_differences for measure in HEADLINES)


def test_an_unknown_metric_has_its_key_as_its_title():
    measure = measure_of("martian_distance")
    assert (measure.title, measure.topic) == ("Martian distance", OTHER)
