"""Compare the outlines of the lung fields with lungs that people outlined in real films (a few seconds).

    python scripts/benchmarks/lung_outlines.py FOLDER

FOLDER holds images/ and masks/ with files of the same names; a mask is above 127 inside the lungs. Both are fitted into
the model's square, where the Dice of both lungs together is taken. The last line is JSON:
{"figures": {...}, "bars": {...}}.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from biomedjourney_monai.evaluation.judges.lung_outlines import load_lung_outlines
from biomedjourney_monai.radiographs import load_radiograph
from biomedjourney_monai.radiographs.scaling import letterbox


def score(folder: Path, weights: Path | None, size: int) -> np.ndarray:
    """The Dice of each film, shape (N,)."""
    outlines, scores = load_lung_outlines(weights), []
    for file in tqdm(sorted((folder / "images").glob("*.png")), unit="film"):
        image = torch.from_numpy(load_radiograph(file, size=size))[None, None]
        mask = cv2.imread(str(folder / "masks" / file.name), cv2.IMREAD_GRAYSCALE).astype(np.float32)
        wanted = letterbox(mask, size=size)[0] > 127
        found = outlines.outline(image)[0, :2].any(axis=0)
        scores.append(2 * (found & wanted).sum() / max(found.sum() + wanted.sum(), 1))
    return np.array(scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with images/ and masks/")
    parser.add_argument("--weights", type=Path, help="folder of lung_outlines.pt (default: the bundle's)")
    parser.add_argument("--size", type=int, default=128, help="side of the square in pixels (default: 128)")
    args = parser.parse_args()
    scores = score(args.folder, args.weights, args.size)
    low = float(np.percentile(scores, 5))
    figures = {"films": len(scores), "mean": scores.mean(), "5th percentile": low, "worst": scores.min()}
    bars = {"mean at least .90": bool(scores.mean() >= 0.90), "5th percentile at least .80": low >= 0.80}
    print(json.dumps({"figures": {name: round(float(value), 4) for name, value in figures.items()}, "bars": bars}))


if __name__ == "__main__":
    main()
