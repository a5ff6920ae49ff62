"""A training that is killed with SIGKILL at any moment, again and again, ends as one that was left alone."""

import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

CONFTEST = Path(__file__).with_name("conftest.py")
SCRIPT = """
import importlib.util, sys, time
from pathlib import Path
from ignite.engine import Events

spec = importlib.util.spec_from_file_location("conftest", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
training = module.Training(Path(sys.argv[2]), max_epochs=200, every_iterations=1)
training.trainer.add_event_handler(Events.ITERATION_STARTED, lambda engine: time.sleep(0.02))
print("ready", flush=True)
training.run()
"""


def start(folder):
    command = [sys.executable, "-c", SCRIPT, str(CONFTEST), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n", process.stderr.read()[-2000:]
    return process


def wait_for_another(checkpoint, before):
    """Wait until the checkpoint is another file than it was."""
    while not checkpoint.is_file() or checkpoint.stat().st_mtime_ns == before:
        time.sleep(0.005)


@pytest.mark.slow
def test_a_training_killed_three_times_ends_as_one_left_alone(tmp_path):
    spec = importlib.util.spec_from_file_location("conftest", CONFTEST)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.Training(tmp_path / "whole", max_epochs=200, every_iterations=1).run()
    moments = random.Random(0)
    reached = []
    path = tmp_path / "parts" / "checkpoint.pt"
    for _ in range(3):
        before = path.stat().st_mtime_ns if path.is_file() else 0
        process = start(path.parent)
        wait_for_another(path, before)
        time.sleep(moments.uniform(0, 0.3))
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        checkpoint = torch.load(path, weights_only=True)  # whole, whenever it was
        reached.append(checkpoint["engine"]["iteration"])
    assert reached == sorted(set(reached))
    process = start(tmp_path / "parts")
    assert process.wait(timeout=300) == 0
    first, second = (torch.load(tmp_path / part / "checkpoint.pt", weights_only=True) for part in ("whole", "parts"))
    assert first["engine"] == second["engine"] == {"iteration": 400}
    for part in ("denoiser", "averaged"):
        assert all(torch.equal(value, second[part][name]) for name, value in first[part].items())
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["checkpoint.pt"]
