"""Measure how well the view check separates upright frontal chests from the rest, on rendered and real films.

    python scripts/benchmarks/view_check.py --patients 60
    python scripts/benchmarks/view_check.py --chestxray14 FOLDER --real FOLDER

--chestxray14 takes the patients that `scripts/train_view_check.py` was not shown. A few of its films really are lateral
or turned: --list names what is refused, to be looked at. --real holds studies.csv, with the columns filename and
view_position, and images/. The last line is JSON: {"figures": {...}, "bars": {...}}.
"""

import argparse
import csv
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import train_view_check as training

from biomedjourney_monai.radiographs import load_radiograph
from biomedjourney_monai.radiographs.views.check import check_view

SIZE = 128
PHOTOGRAPHS = ("chelsea.png", "coffee.png", "grass.png", "moon.png", "motorcycle_left.png", "rocket.jpg", "text.png")
PHOTOGRAPHS += ("cell.png", "ihc.png", "microaneurysms.png", "color.png")


def read_real(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The frontal and the lateral films of a folder with studies.csv."""
    with (folder / "studies.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    films = [load_radiograph(folder / "images" / row["filename"], size=SIZE) for row in rows]
    is_lateral = np.array([row["view_position"].upper() in ("LATERAL", "LL", "RL") for row in rows])
    return np.array(films)[~is_lateral], np.array(films)[is_lateral]


def share(films, wanted, **options) -> float:
    """Share of films whose reason satisfies `wanted`."""
    return round(
        float(np.mean([wanted(check_view(np.ascontiguousarray(film), **options).reason) for film in films])), 4
    )


def measure_frontal(films: np.ndarray) -> dict[str, float]:
    """What happens to upright frontal films, and to the same films turned, inverted and mirrored."""
    some = films[:300]
    return {
        "films": len(films),
        "refused": share(films, bool),
        "in_doubt": round(float(np.mean([bool(check_view(film).doubt) for film in films])), 4),
        "rotated_caught": share([np.rot90(film, turns) for film in some for turns in (1, 2, 3)], bool),
        "inverted_caught": share(
            [np.where(film > 0, 1 - film, 0) for film in some] + [1 - film for film in some], bool
        ),
        "mirrored_found": share(some[:, :, ::-1], lambda reason: reason == "mirrored", mirror=True),
        "wrongly_mirrored": share(films, lambda reason: reason == "mirrored", mirror=True),
    }


def judge(figures: dict) -> dict[str, bool]:
    """The bars, of the sets that were measured."""
    bars = {"photographs caught": figures["photographs"]["caught"] >= 0.95}
    for name, numbers in figures.items():
        if "refused" in numbers:
            most = 0.005 if "AP" not in name else 0.02
            bars[f"{name}: refused <= {most}"] = numbers["refused"] <= most
            bars |= {f"{name}: {key}": numbers[key] >= 0.95 for key in ("rotated_caught", "inverted_caught")}
        if "laterals_caught" in numbers:
            bars[f"{name}: laterals caught"] = numbers["laterals_caught"] >= 0.95
    return bars


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=60, help="rendered patients to measure on (default: 60)")
    parser.add_argument("--chestxray14", type=Path, help="folder of ChestX-ray14")
    parser.add_argument("--real", type=Path, help="folder of real radiographs with studies.csv and images/")
    parser.add_argument("--list", action="store_true", help="print the place of each PA film that is refused")
    args = parser.parse_args()
    rendered = training.rendered_films(args.patients, stream="view check", size=SIZE)
    laterals = rendered.pop("LATERAL")
    figures = {f"rendered {view}": measure_frontal(films) for view, films in rendered.items()}
    sides = np.concatenate([laterals, laterals[:, :, ::-1]])
    figures["rendered laterals"] = {"films": len(sides), "laterals_caught": share(sides, bool)}
    pictures = training.photographs(PHOTOGRAPHS, 330, seed=1, size=SIZE)
    figures["photographs"] = {"pictures": len(pictures), "caught": share(pictures, bool)}
    start = time.perf_counter()
    for film in laterals:
        check_view(film)
    figures["speed"] = {"ms": round(1000 * (time.perf_counter() - start) / len(laterals), 2)}
    if args.chestxray14:
        for view, films in training.real_films(args.chestxray14, ("validate", "test"), size=SIZE).items():
            figures[f"ChestX-ray14 {view}"] = measure_frontal(films)
            if args.list:
                print(view, [(n, check_view(film).reason) for n, film in enumerate(films) if check_view(film).reason])
    if args.real:
        frontal, lateral = read_real(args.real)
        figures["real frontal"] = measure_frontal(frontal)
        figures["real laterals"] = {"films": len(lateral), "laterals_caught": share(lateral, bool)}
    print(json.dumps({"figures": figures, "bars": judge(figures)}))


if __name__ == "__main__":
    main()
