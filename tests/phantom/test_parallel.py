import operator

import pytest

from biomedjourney_monai.phantom.parallel import count_processes, map_in_order


def fail(number):
    raise ValueError("no")


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_order(processes):
    assert list(map_in_order(operator.neg, range(20), processes=processes)) == [-number for number in range(20)]


def test_errors_reach_the_caller():
    with pytest.raises(ValueError, match="no"):
        list(map_in_order(fail, [1], processes=1))


def test_counting_processes():
    assert count_processes(3) == 3 and count_processes(None) >= 1
