"""A working folder of small random pictures, as `register` and `sample` leave it."""

import json

import numpy as np
import pandas
import pytest

from biomedjourney_monai.radiographs import save_png
from biomedjourney_monai.schema import CHEXPERT_LABELS, FINDINGS, PAIR_COLUMNS

RACES = ("WHITE", "BLACK/AFRICAN AMERICAN", "ASIAN - CHINESE", "UNKNOWN")


def write_working_folder(work, *, journeys=24, size=32, seed=0):
    """Two journeys per patient; every sixth is dropped; half are test."""
    generator = np.random.default_rng(seed)
    rows = []
    for n in range(journeys):
        row = dict.fromkeys(PAIR_COLUMNS, "")
        row |= {f"{side}_{label}": np.nan for side in ("prior", "new") for label in CHEXPERT_LABELS}
        row |= {
            f"{side}_{finding}": float(generator.choice([0, 1])) for side in ("prior", "new") for finding in FINDINGS
        }
        row |= {
            "journey_id": f"j{n:06}",
            "subject_id": f"s{n // 2}",
            "split": "test" if n < journeys // 2 else "train",
            "days_between": float(n + 1),
            "anchor_age": float(generator.integers(25, 90)),
            "race": RACES[n % 4],
            "kept": n % 6 != 5,
            "drop_reason": "low score" if n % 6 == 5 else "",
            "prior_image": f"images/j{n:06}_prior.png",
            "new_image": f"images/j{n:06}_new.png",
            "valid_mask": f"images/j{n:06}_valid.png",
        }
        row |= dict.fromkeys(["prior_age", "new_age", "gradient_correlation", "scale", "overlap"], 1.0)
        row |= dict.fromkeys(["rotation_degrees", "shift_x_px", "shift_y_px"], 0.0)
        for name in ("prior_image", "new_image"):
            save_png(work / row[name], generator.random((size, size)))
        save_png(work / row["valid_mask"], np.tri(size, dtype=bool))
        rows.append(row)
    pandas.DataFrame(rows).to_parquet(work / "pairs.parquet")


def write_samples(work, *, size=32, count=12, seed=1):
    """Counterfactuals of the test journeys that were kept."""
    chosen = [n for n in range(count) if n % 6 != 5]
    (work / "samples").mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).random((len(chosen), size, size))
    np.save(work / "samples" / "counterfactuals.npy", pixels.astype(np.float16))
    lines = [
        {
            "journey_id": f"j{n:06}",
            "file": f"samples/j{n:06}.png",
            "index": index,
            "model": "abc",
            "seed": n,
            "progression_description": f"New <b>effusion</b> number {n}.",
        }
        for index, n in enumerate(chosen)
    ]
    (work / "samples" / "samples.jsonl").write_text("\n".join(json.dumps(line) for line in lines))


@pytest.fixture
def baseline_work(tmp_path):
    """A folder without samples."""
    write_working_folder(tmp_path)
    return tmp_path


@pytest.fixture
def work(baseline_work):
    """A folder with samples."""
    write_samples(baseline_work)
    return baseline_work


@pytest.fixture(scope="session")
def fill_work():
    """Make an empty folder one like `work`, and return it."""

    def fill(folder):
        write_working_folder(folder)
        write_samples(folder)
        return folder

    return fill


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder with judges that were never trained."""
    import torch

    from biomedjourney_monai.evaluation.judges.phantom import (
        CLASSIFIER_FILE,
        SEGMENTER_FILE,
        PhantomClassifier,
        PhantomSegmenter,
        save_weights,
    )

    folder = tmp_path_factory.mktemp("models")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_weights(PhantomClassifier(), folder / CLASSIFIER_FILE)
        save_weights(PhantomSegmenter(), folder / SEGMENTER_FILE)
    return folder
