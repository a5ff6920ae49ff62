"""Measure what a description without change does to films, before and after unchanged pixels are kept.

    python scripts/benchmarks/no_change.py FOLDER --films 100

FOLDER holds films, as PNG or JPEG files; or it is a working folder, whose test patients' priors are taken. Each film is
drawn with one of ten sentences that say that nothing changed, as a request is read (`--verbatim`: as it is). Counted
are the PSNR to the film before and after `keep_unchanged`, and films whose rim, where side markers stand, gained bright
pixels that the film did not have.

The last line is JSON: {"figures": {...}, "bars": {...}}. About 30 seconds for 100 films on one core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from biomedjourney_monai.cli.arguments import add_sampling_arguments, counterfactual_model
from biomedjourney_monai.files import read_table
from biomedjourney_monai.preparation.descriptions.request import read_request
from biomedjourney_monai.radiographs import load_radiograph
from biomedjourney_monai.schema import PAIRS_FILE

SENTENCES = (
    "No interval change.",
    "Unchanged.",
    "Stable appearance of the chest.",
    "No significant interval change.",
    "There has been no change since the prior study.",
    "Nothing new.",
    "The examination is essentially unchanged.",
    "Stable.",
    "No new abnormality compared with the previous film.",
    "Heart and lungs look the same as before.",
)
RIM, BRIGHT, GAINED = 0.12, 0.85, 0.25
"""Share of the side that counts as rim; a marker's grey value; how much brighter than the film an invented one is."""


def psnr(images: np.ndarray, films: np.ndarray) -> np.ndarray:
    """dB of each image, arrays of shape (N, H, W) in [0, 1]."""
    return -10 * np.log10(np.maximum(np.square(images - films).mean(axis=(1, 2)), 1e-10))


def count_markers(images: np.ndarray, films: np.ndarray) -> int:
    """How many images have a group of bright pixels at the rim that their film does not have."""
    side = films.shape[1]
    rim = np.ones((side, side), bool)
    cut = round(RIM * side)
    rim[cut:-cut, cut:-cut] = False
    gained = (images > BRIGHT) & (images - films > GAINED) & rim
    return int((gained.sum(axis=(1, 2)) >= 4).sum())


def find_films(folder: Path) -> list[Path]:
    """The pictures of a folder, or the test patients' priors of a working folder."""
    if (folder / PAIRS_FILE).is_file():
        pairs = read_table(folder / PAIRS_FILE, columns=["prior_image", "split", "kept"], made_by="register")
        return [
            folder / name for name in sorted(set(pairs.loc[(pairs["split"] == "test") & pairs["kept"], "prior_image"]))
        ]
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg"))


def main() -> None:
    """Draw, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="films: PNG or JPEG files")
    parser.add_argument("--films", type=int, default=100, help="how many, evenly spread over the folder")
    parser.add_argument("--verbatim", action="store_true", help="give the text encoder the sentences as they are")
    add_sampling_arguments(parser)
    arguments = parser.parse_args()
    model = counterfactual_model(arguments)
    generator, sampler = model.generator, model.sampler
    files = find_films(arguments.folder)
    files = files[:: max(1, len(files) // arguments.films)][: arguments.films]
    films = np.stack([load_radiograph(file, size=generator.image_size) for file in files])
    before, after = [], []
    for start in tqdm(range(0, len(films), 10), desc="no change", unit="batch"):
        batch = torch.from_numpy(films[start : start + 10])[:, None]
        texts = [SENTENCES[(start // 10 + number) % len(SENTENCES)] for number in range(len(batch))]
        texts = texts if arguments.verbatim else [read_request(text).prompt for text in texts]
        thresholds, seeds = [0.0, sampler.keep_unchanged], range(start, start + len(batch))
        drawn = generator.keeping(batch, texts, seeds=seeds, thresholds=thresholds, sampler=sampler)
        before.append(drawn[0][:, 0].numpy())
        after.append(drawn[1][:, 0].numpy())
    raw, kept = np.concatenate(before), np.concatenate(after)
    figures = {
        "films": len(films),
        "psnr before keeping": float(psnr(raw, films).mean()),
        "5th percentile before": float(np.percentile(psnr(raw, films), 5)),
        "psnr after keeping": float(np.minimum(psnr(kept, films), 60).mean()),
        "5th percentile after": float(np.percentile(psnr(kept, films), 5)),
        "films with an invented marker": count_markers(kept, films),
    }
    for name, value in figures.items():
        print(f"{name:32} {value:.1f}")
    bars = {
        "before keeping >= 30 dB": figures["psnr before keeping"] >= 30,
        "after keeping >= 36 dB": figures["psnr after keeping"] >= 36,
        "no marker invented": figures["films with an invented marker"] == 0,
    }
    print(json.dumps({"figures": figures, "bars": bars}))


if __name__ == "__main__":
    main()
