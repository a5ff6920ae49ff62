"""Each measurement runs in a process of its own: where a heap has holes already, other memory goes back."""

import ctypes
import subprocess
import sys

import pytest

with_glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
START = """
from pathlib import Path

import numpy as np

from biomedjourney_monai.memory import give_back_freed_memory, large_blocks_apart


def resident_mb():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


large, small = [], []
"""
FREED = """
for _ in range(1000):
    large.append(np.ones(12_000))  # 96 kB, 96 MB in all
    small.append(np.ones(200))
del large
before = resident_mb()
give_back_freed_memory()
print(before - resident_mb())
"""
APART = """
with large_blocks_apart():
    for _ in range(50):
        large.append(np.ones(250_000))  # 2 MB, 100 MB in all
        small.append(np.ones(200))
    before = resident_mb()
    del large
    print(before - resident_mb())
"""


def freed_mb(script: str) -> float:
    done = subprocess.run([sys.executable, "-c", START + script], capture_output=True, text=True, check=True)
    return float(done.stdout)


@with_glibc
def test_what_lies_free_between_small_objects_goes_back():
    assert freed_mb(FREED) > 60


@with_glibc
def test_large_blocks_go_back_although_small_ones_between_them_live_on():
    assert freed_mb(APART) > 90
