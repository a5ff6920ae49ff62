"""Measure what decoding large JPEGs at reduced scale saves.

    python scripts/benchmarks/reading.py

One rendered radiograph is enlarged to 2544×3056, saved as JPEG and reduced to a square of 256 px in three ways, on one
thread: this package's path, OpenCV in full and Pillow in full. The last line is JSON.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.truth import render_visit
from biomedjourney_monai.radiographs.loading import load_unscaled
from biomedjourney_monai.radiographs.scaling import letterbox

HEIGHT, WIDTH, SIZE = 3056, 2544, 256


def write_large_jpeg(path: Path) -> None:
    """Write a rendered radiograph with the noise of a detector, at MIMIC-CXR-JPG's usual size."""
    patient = draw_patient(0, 0, stream="reading")
    image = render_visit(patient, patient.visits[0], size=512, view_position="PA").image
    image = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    image += np.random.default_rng(0).normal(0, 0.01, image.shape).astype(np.float32)
    Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)).save(path, quality=95)


def ways(path: Path) -> dict[str, Callable[[], np.ndarray]]:
    """Name → a way from the file to the square."""
    return {
        "reduced": lambda: load_unscaled(path, size=SIZE)[0],
        "opencv in full": lambda: letterbox(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), size=SIZE)[0],
        "pillow in full": lambda: letterbox(np.asarray(Image.open(path).convert("L")), size=SIZE)[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10, help="default: 10")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.jpg"
        write_large_jpeg(path)
        chosen = ways(path)
        squares = {name: way() for name, way in chosen.items()}
        seconds = {name: [] for name in chosen}
        for _ in range(args.repeats):
            for name, way in chosen.items():
                start = time.process_time()
                way()
                seconds[name].append(time.process_time() - start)
    figures = {f"{name}, ms": round(1000 * float(np.median(times)), 1) for name, times in seconds.items()}
    for name in ("opencv in full", "pillow in full"):
        figures[f"times faster than {name}"] = round(float(np.median(seconds[name]) / np.median(seconds["reduced"])), 2)
    error = float(np.abs(squares["reduced"] - squares["opencv in full"]).mean())
    figures["mean difference from full decoding, of 255"] = round(error, 2)
    for name, figure in figures.items():
        print(f"{name}: {figure}")
    bars = {
        "faster than decoding in full": figures["times faster than opencv in full"] > 1,
        "the same image": error < 1,
    }
    print(json.dumps({"figures": figures, "bars": bars}))


if __name__ == "__main__":
    main()
