"""The holes of a backward pass go back to the system while it runs."""

from __future__ import annotations

import ctypes
import itertools
import subprocess
import sys

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from biomedjourney_monai.training.handlers import freed_memory
from biomedjourney_monai.training.handlers.freed_memory import GiveBackFreedMemory


def _network():
    return nn.Sequential(*(nn.Linear(64, 64) for _ in range(16)))


def _train(network, handler, *, steps=2):
    def step(_engine, _batch):
        network.zero_grad()
        network(torch.ones(2, 64)).sum().backward()

    engine = Engine(step)
    handler.attach(engine)
    engine.run(range(steps))
    return engine


@pytest.fixture
def calls(monkeypatch):
    calls = []
    monkeypatch.setattr(freed_memory, "give_back_freed_memory", lambda: calls.append(1))
    return calls


def test_as_often_as_said_in_each_backward_pass(calls):
    network = _network()
    _train(network, GiveBackFreedMemory(list(network.parameters()), times=4, smallest_network=0), steps=3)
    assert len(calls) == 12


def test_evenly_over_the_gradients_the_last_layer_first():
    parameters = list(_network().parameters())
    chosen = freed_memory._evenly(parameters, 4)
    places = [next(n for n, p in enumerate(parameters) if p is one) for one in chosen]
    assert places == sorted(places, reverse=True)
    assert places[-1] == 0
    assert max(abs(a - b) for a, b in itertools.pairwise(places)) <= 9


def test_not_for_a_small_network(calls):
    network = _network()
    _train(network, GiveBackFreedMemory(list(network.parameters())))
    assert not calls


def test_not_after_the_run(calls):
    network = _network()
    _train(network, GiveBackFreedMemory(list(network.parameters()), times=2, smallest_network=0), steps=1)
    network(torch.ones(1, 64)).sum().backward()
    assert len(calls) == 2


SCRIPT = """
from pathlib import Path

import torch
from ignite.engine import Engine

from biomedjourney_monai.training.handlers.freed_memory import GiveBackFreedMemory


def resident_mb():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


network = torch.nn.Linear(64, 64)
engine = Engine(lambda *_: network(torch.ones(2, 64)).sum().backward())
GiveBackFreedMemory(list(network.parameters()), times=1, smallest_network=0).attach(engine)
large, small = [], []
for _ in range(1000):
    large.append(torch.ones(24_000))  # 96 kB, 96 MB in all
    small.append(torch.ones(400))
del large
before = resident_mb()
engine.run(range(1))
print(before - resident_mb())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_what_lies_free_is_given_back_within_the_pass():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)  # an empty heap
    assert float(done.stdout) > 60
