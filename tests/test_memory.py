import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from biomedjourney_monai.memory import give_back_freed_memory

STATUS = Path("/proc/self/status")


def _resident_mb():
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


with_glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")


@with_glibc
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


SCRIPT = """
from pathlib import Path

import numpy as np

from biomedjourney_monai.memory import large_blocks_apart


def resident_mb():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


large, small = [], []
with large_blocks_apart():
    for _ in range(50):
        large.append(np.ones(250_000))  # 2 MB, 100 MB in all
        small.append(np.ones(200))
    before = resident_mb()
    del large
    print(before - resident_mb())
"""


@with_glibc
def test_large_blocks_go_back_although_small_ones_between_them_live_on():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)  # an empty heap
    assert float(done.stdout) > 90
