import ctypes
from pathlib import Path

import numpy as np
import pytest

from biomedjourney_monai.evaluation.freed_memory import give_back_freed_memory

STATUS = Path("/proc/self/status")


def _resident_mb():
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_what_lies_free_between_small_objects_goes_back():
    large, small = [], []
    for _ in range(1000):
        large.append(np.ones(12_000))  # 96 kB, 96 MB in all
        small.append(np.ones(200))
    del large
    before = _resident_mb()
    give_back_freed_memory()
    assert before - _resident_mb() > 60
    assert len(small) == 1000
