import mmap
from pathlib import Path

import numpy as np
import pytest

from biomedjourney_monai.evaluation.systems.sources import read_counterfactuals
from biomedjourney_monai.files import write_json_lines


def _file_pages_mb():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssFile"))
    return int(line.split()[1]) / 1024


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="the system cannot let go of pages")
def test_reading_all_samples_keeps_none_of_them_in_memory(tmp_path):
    pixels = np.random.default_rng(0).random((200, 256, 256), np.float32)  # 52 MB
    np.save(tmp_path / "counterfactuals.npy", pixels)
    write_json_lines(tmp_path / "samples.jsonl", [{"journey_id": f"j{n}", "index": n} for n in range(200)])
    system = read_counterfactuals(tmp_path)
    before = _file_pages_mb()
    images = [system.image({"journey_id": f"j{n}"}).copy() for n in range(200)]
    assert _file_pages_mb() - before < 10
    np.testing.assert_array_equal(images, pixels)
