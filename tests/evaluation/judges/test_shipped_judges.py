"""The judges in bundle/models still judge what the renderer draws today."""

import json
from pathlib import Path

import pytest

from biomedjourney_monai.evaluation.judges.loading import load_judges
from biomedjourney_monai.phantom.labelled import draw_labelled
from biomedjourney_monai.training.judges.train import mark_judges

MODELS = Path(__file__).parents[3] / "bundle" / "models"


@pytest.fixture(scope="module")
def marks():
    return mark_judges(load_judges(MODELS), draw_labelled(48, seed=31, size=128, with_masks=True))


@pytest.mark.parametrize(
    "mark, least", [("auroc of findings", 0.97), ("auroc of groups", 0.95), ("age r", 0.85), ("dice", 0.9)]
)
def test_judges_are_right_on_patients_they_never_saw(marks, mark, least):
    assert marks[mark] >= least


def test_marks_belong_to_the_shipped_files():
    recorded = json.loads((MODELS / "phantom_judges.json").read_text())
    assert recorded["files"] == load_judges(MODELS).provenance()["files"]


def test_judges_are_small():
    assert sum(path.stat().st_size for path in MODELS.glob("phantom_*.pt")) < 2.5e6
