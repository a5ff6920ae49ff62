"""Processes of an ablation: their output, the lock of its folder, and how they are stopped."""

import os
import subprocess
import sys
import time

import pytest

from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.evaluation.ablation.launch import launcher


def test_the_launcher_runs_a_process_and_keeps_its_output(tmp_path):
    with launcher(tmp_path) as launch:
        log = tmp_path / "logs" / "one.log"
        assert launch([sys.executable, "-c", "import sys; print('hello'); sys.exit(3)"], log) == 3
    assert log.read_text() == "hello\n"


def test_two_ablations_in_one_folder_are_refused(tmp_path):
    with launcher(tmp_path), pytest.raises(BiomedJourneyError, match="one ablation at a time"), launcher(tmp_path):
        pass


def test_a_stopped_ablation_stops_its_command(tmp_path):
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from biomedjourney_monai.evaluation.ablation.launch import launcher\n"
        "with launcher(Path(sys.argv[1])) as launch:\n"
        "    launch([sys.executable, '-u', '-c', 'import os, time; print(os.getpid()); time.sleep(100)'],"
        " Path(sys.argv[1]) / 'log')\n"
    )
    ablation = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stderr=subprocess.DEVNULL)
    log, deadline = tmp_path / "log", time.monotonic() + 60
    while time.monotonic() < deadline and not (log.is_file() and log.read_text().endswith("\n")):
        time.sleep(0.1)
    child = int(log.read_text())
    ablation.terminate()
    assert ablation.wait(timeout=60) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
