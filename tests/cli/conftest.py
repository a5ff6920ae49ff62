"""The shipped configuration with random weights, and a small working folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BUNDLE = Path(__file__).resolve().parents[2] / "bundle"
SIZE = 128


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The shipped bundle folder."""
    return BUNDLE


@pytest.fixture(scope="session")
def random_model(tmp_path_factory) -> Path:
    """A model file of the shipped geometry; what starts at zero has numbers, so that seed and text matter."""
    import torch

    from biomedjourney_monai.configuration import compose

    torch.manual_seed(0)
    generator = compose(BUNDLE / "configs" / "common.yaml", {"bundle_root": str(BUNDLE)}).get_parsed_content(
        "generator"
    )
    for parameter in generator.denoiser.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter.data, std=0.02)
    path = tmp_path_factory.mktemp("model") / "random.pt"
    generator.save(path, info={"stage": "random"})
    return path


def draw_radiograph(seed: int = 0, *, height: int = SIZE, width: int = SIZE) -> np.ndarray:
    """Two dark lungs in a bright chest, uint8, shape (height, width)."""
    rows, columns = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    lungs = sum(np.exp(-(((columns - x) / 0.16) ** 2 + ((rows - 0.5) / 0.3) ** 2)) for x in (0.3, 0.7))
    noise = np.random.default_rng(seed).normal(0, 3, (height, width))
    return np.clip(220 - 180 * lungs + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def prepared(tmp_path) -> Path:
    """A working folder as `describe` leaves it: four single images, three journeys."""
    from biomedjourney_monai.files import write_json_lines

    work = tmp_path / "work"
    (work / "images").mkdir(parents=True)
    for index in range(4):
        Image.fromarray(draw_radiograph(index)).save(work / "images" / f"{index}.png")
    mask = np.full((SIZE, SIZE), 255, np.uint8)
    mask[:, :5] = 0
    Image.fromarray(mask).save(work / "images" / "valid.png")
    singles = [
        {"image": f"images/{index}.png", "split": "train", "impression": "" if index == 3 else f"Finding {index}."}
        for index in range(4)
    ]
    triples = [
        {
            "journey_id": f"j{index:06d}",
            "split": "test" if index else "train",
            "prior_image": f"images/{index}.png",
            "new_image": f"images/{index + 1}.png",
            "valid_mask": "images/valid.png",
            "progression_description": "New small left pleural effusion.",
        }
        for index in range(3)
    ]
    write_json_lines(work / "singles.jsonl", singles)
    write_json_lines(work / "triples.jsonl", triples)
    return work


@pytest.fixture
def chest(tmp_path, rendered_chest):
    """A file of the rendered chest, 180 rows and 150 columns."""
    path = tmp_path / "chest.png"
    Image.fromarray(np.rint(rendered_chest[:, 15:165] * 255).astype(np.uint8)).save(path)
    return path
