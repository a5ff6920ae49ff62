"""Write a working folder of generic photographs and edits, to train the generic baselines on.

    python scripts/benchmarks/generic_pictures.py --out generic
    biomedjourney encode --work generic
    biomedjourney train --work generic -- --pretrain_epochs 4 --finetune_epochs 4 --score_epochs 0
    biomedjourney sample --work work --system generic-text-to-image --text-only --model generic/runs/pretrain/model.pt
    biomedjourney sample --work work --system generic-edits --keep-unchanged 0 --model generic/runs/finetune/model.pt

The paper compares with Stable Diffusion and InstructPix2Pix, which were never trained on radiographs. These replace
them where their weights are not available, at this bundle's size: random crops of the photographs that scikit-image
ships, with captions for text-to-image, and with instructions ("make it brighter") and their results for edits.

The last line is JSON: {"figures": {...}, "bars": {}}.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

PICTURES = {
    "astronaut.png": "a woman in a space suit",
    "brick.png": "a wall of bricks",
    "camera.png": "a man behind a camera",
    "chelsea.png": "a cat",
    "coffee.png": "a cup of coffee",
    "coins.png": "old coins",
    "grass.png": "grass",
    "gravel.png": "gravel",
    "moon.png": "the moon",
    "motorcycle_left.png": "a motorcycle",
    "rocket.jpg": "a rocket",
    "text.png": "a printed page",
}
EDITS = {
    "make it brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.5),
    "make it darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.6),
    "more contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(1.8),
    "less contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(0.5),
    "blur it": lambda picture: picture.filter(ImageFilter.GaussianBlur(3)),
    "sharpen it": lambda picture: picture.filter(ImageFilter.UnsharpMask(3, 200)),
    "invert it": ImageOps.invert,
    "make it a poster": lambda picture: ImageOps.posterize(picture, 2),
}
SMALLEST = 0.4
"""Side of the smallest crop, as a share of the picture's shorter side."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a new working folder")
    parser.add_argument("--crops", type=int, default=2000, help="of all photographs together (default: 2000)")
    parser.add_argument("--size", type=int, default=128, help="rows and columns (default: 128)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    pictures = read_pictures()
    (arguments.out / "images").mkdir(parents=True)
    singles, triples = [], []
    for number in range(arguments.crops):
        name, instruction = (str(rng.choice(list(table))) for table in (PICTURES, EDITS))
        before = random_crop(pictures[name], rng, size=arguments.size)
        files = f"images/{number:05d}.png", f"images/{number:05d}-edited.png"
        before.save(arguments.out / files[0])
        EDITS[instruction](before).save(arguments.out / files[1])
        split = "validate" if number % 10 == 0 else "train"
        singles.append({"image": files[0], "split": split, "impression": PICTURES[name]})
        triples.append(
            {
                "journey_id": f"g{number:06d}",
                "prior_image": files[0],
                "new_image": files[1],
                "valid_mask": "",
                "split": split,
                "progression_description": instruction,
            }
        )
    for name, rows in (("singles.jsonl", singles), ("triples.jsonl", triples)):
        (arguments.out / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"wrote {arguments.out}: {len(singles)} crops of {len(PICTURES)} photographs, as many edits")
    print(json.dumps({"figures": {"crops": len(singles), "photographs": len(PICTURES)}, "bars": {}}))


def read_pictures() -> dict[str, Image.Image]:
    """The photographs in grey."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return {name: Image.open(folder / name).convert("L") for name in PICTURES}


def random_crop(picture: Image.Image, rng: np.random.Generator, *, size: int) -> Image.Image:
    """A square crop of random place and side, scaled to `size`."""
    side = int(min(picture.size) * rng.uniform(SMALLEST, 1))
    left, top = (int(rng.integers(0, extent - side + 1)) for extent in picture.size)
    return picture.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side))


if __name__ == "__main__":
    main()
