"""Train the view check's network on rendered films and, if given, films of ChestX-ray14: minutes on one core.

    python scripts/train_view_check.py --chestxray14 FOLDER

Only training patients are shown; `scripts/benchmarks/view_check.py --chestxray14 FOLDER` measures on the others. Films
that the network finds far from upright halfway are left out of the second half: some of ChestX-ray14 are lateral or
turned. The result, views/network.npz, holds the weights alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.truth import render_visit
from biomedjourney_monai.preparation.cohort.chestxray14 import read_chestxray14
from biomedjourney_monai.radiographs import load_radiograph
from biomedjourney_monai.radiographs.views import check as views

SIZE, CACHE = views.SIZE, 96
VALIDATION_SHARE = 0.3
"""Of ChestX-ray14's training patients, kept for measurements."""

PHOTOGRAPHS = ("astronaut.png", "brick.png", "camera.png", "clock_motion.png", "coins.png", "gravel.png", "page.png")
PHOTOGRAPHS += ("retina.jpg", "hubble_deep_field.jpg", "logo.png", "horse.png")
"""Of scikit-image; the benchmark takes the others."""

SHARES = {"": 0.4, "mirrored": 0.12, "lateral": 0.14, "inverted": 0.1, "rotated": 0.12, "not_a_chest": 0.12}
FORGET = 0.1
"""A training film with a lower probability of being upright halfway is not shown again."""

Pictures = dict[str, np.ndarray]
"""Frontal, lateral and other pictures: float32 in [0, 1], shape (N, 96, 96)."""


def real_films(root: Path, splits: tuple[str, ...], *, size: int = CACHE) -> dict[str, np.ndarray]:
    """Films of ChestX-ray14 by view: "PA" and "AP", shape (N, size, size), of the patients of these splits."""
    source = read_chestxray14(root, validation_share=VALIDATION_SHARE)
    images = source.images[source.images["dicom_id"].map(source.split).isin(splits)]
    found: dict[str, list[np.ndarray]] = {"PA": [], "AP": []}
    for view, path in tqdm(list(zip(images["ViewPosition"], images["image_path"])), desc="films", mininterval=2):
        try:
            found[view].append(load_radiograph(path, size=size))
        except (ImageError, KeyError):
            continue
    return {view: np.array(films) for view, films in found.items()}


def rendered_films(patients: int, *, stream: str, size: int = CACHE) -> dict[str, np.ndarray]:
    """Rendered films by view: "PA", "AP" and "LATERAL", one of each patient and view."""
    found: dict[str, list[np.ndarray]] = {"PA": [], "AP": [], "LATERAL": []}
    for index in tqdm(range(patients), desc="rendered", mininterval=2):
        patient = draw_patient(0, index, stream=stream)
        for view, films in found.items():
            films.append(render_visit(patient, patient.visits[0], size=size, view_position=view).image)
    return {view: np.array(films) for view, films in found.items()}


def photographs(names: tuple[str, ...], count: int, *, seed: int, size: int = CACHE) -> np.ndarray:
    """Random crops of scikit-image's photographs, shape (count, size, size)."""
    import skimage

    rng = np.random.default_rng(seed)
    folder = Path(skimage.__file__).parent / "data"
    pictures = [cv2.imread(str(folder / name), cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255 for name in names]
    crops = []
    for number in range(count):
        picture = pictures[number % len(pictures)]
        side = int(min(picture.shape) * rng.uniform(0.4, 1))
        top, left = (int(rng.integers(0, extent - side + 1)) for extent in picture.shape)
        crop = cv2.resize(picture[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_AREA)
        low, high = np.percentile(crop, (1, 99))
        crops.append(np.clip((crop - low) / max(high - low, 0.05), 0, 1))
    return np.array(crops)


def vary(picture: np.ndarray, rng: np.random.Generator, *, strength: float = 1.0) -> np.ndarray:
    """Move, scale, crop, expose, blur and mark a picture; the result has side `SIZE`."""
    scale, angle = np.exp(rng.normal(0, 0.11 * strength)), rng.normal(0, 4 * strength)
    matrix = cv2.getRotationMatrix2D((CACHE / 2, CACHE / 2), angle, scale * SIZE / CACHE)
    matrix[:, :2] *= np.exp(rng.normal(0, 0.04 * strength, 2))[:, None]
    centre = matrix @ (CACHE / 2, CACHE / 2, 1)
    matrix[:, 2] += SIZE / 2 - centre + rng.normal(0, 2.5 * strength, 2)
    fill = float(rng.choice([0.0, 0.0, rng.random(), 1.0], p=[0.5, 0.2, 0.2, 0.1]))
    moved = cv2.warpAffine(picture, matrix, (SIZE, SIZE), flags=cv2.INTER_AREA, borderValue=fill)
    low, high = rng.uniform(-0.1, 0.12), rng.uniform(0.85, 1.15)
    moved = np.clip((moved - low) / (high - low), 0, 1) ** np.exp(rng.normal(0, 0.35 * strength))
    if rng.random() < 0.2:
        moved = cv2.GaussianBlur(moved, (0, 0), rng.uniform(0.4, 1.2))
    moved = moved + rng.normal(0, rng.uniform(0, 0.05), moved.shape)
    for _ in range(int(rng.integers(0, 3))):  # letters, arrows, markers
        top, left, height, width = (int(n) for n in (*rng.integers(0, SIZE - 8, 2), *rng.integers(1, 8, 2)))
        moved[top : top + height, left : left + width] = rng.choice([0.0, 1.0])
    if rng.random() < 0.25:  # the letterbox of a film that is not square, or collimation
        bar, axis = int(rng.integers(1, SIZE // 6)), int(rng.integers(2))
        bars = moved if axis else moved.T
        bars[:, :bar] = bars[:, SIZE - int(rng.integers(1, SIZE // 6)) :] = 0
    return np.clip(moved, 0, 1).astype(np.float32)


def no_chest(pictures: Pictures, rng: np.random.Generator) -> np.ndarray:
    """A photograph, noise, shapes, a ramp, shuffled pieces of a film or a small part of one; side `SIZE`."""
    kind = rng.integers(7)
    if kind <= 1:
        return vary(np.rot90(rng.choice(pictures["other"]), int(rng.integers(4))).copy(), rng)
    if kind == 2:  # smooth noise of one scale
        coarse = rng.random((int(rng.integers(2, SIZE)),) * 2).astype(np.float32)
        return np.clip(cv2.resize(coarse, (SIZE, SIZE)) ** rng.uniform(0.3, 3), 0, 1)
    if kind == 3:  # shapes
        canvas = np.full((SIZE, SIZE), rng.random(), np.float32)
        for _ in range(int(rng.integers(0, 7))):
            centre, axes = rng.integers(0, SIZE, 2).tolist(), rng.integers(2, 24, 2).tolist()
            cv2.ellipse(canvas, centre, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.random()), -1)
        return canvas
    if kind == 4:
        ramp = np.linspace(0, 1, SIZE, dtype=np.float32) ** rng.uniform(0.5, 2)
        return np.ascontiguousarray(np.rot90(np.tile(ramp, (SIZE, 1)), int(rng.integers(4))))
    film = rng.choice(pictures["frontal"])
    if kind == 5:
        pieces = int(rng.integers(3, 5))
        blocks = [block for row in np.array_split(film, pieces) for block in np.array_split(row, pieces, axis=1)]
        side = CACHE // pieces
        blocks = [cv2.resize(blocks[n], (side, side)) for n in rng.permutation(len(blocks))]
        film = np.vstack([np.hstack(blocks[n * pieces : (n + 1) * pieces]) for n in range(pieces)])
        return cv2.resize(film, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    side = int(rng.integers(CACHE // 8, CACHE // 3))
    top, left = rng.integers(0, CACHE - side, 2)
    return cv2.resize(film[top : top + side, left : left + side], (SIZE, SIZE))


def _draw(reason: str, pictures: Pictures, rng: np.random.Generator) -> np.ndarray:
    if reason == "not_a_chest":
        return no_chest(pictures, rng)
    if reason == "lateral":
        film = rng.choice(pictures["lateral"])
        film = film[:, ::-1] if rng.random() < 0.5 else film
        film = np.rot90(film, int(rng.integers(1, 4))) if rng.random() < 0.15 else film
        varied = vary(np.ascontiguousarray(film), rng, strength=1.6)
        return 1 - varied if rng.random() < 0.1 else varied
    film = rng.choice(pictures["frontal"])
    if reason in ("mirrored", "rotated") and (reason == "mirrored" or rng.random() < 0.2):
        film = film[:, ::-1]
    varied = vary(np.ascontiguousarray(film), rng)
    if reason == "inverted":
        content = varied > 0.02 if rng.random() < 0.5 else np.ones_like(varied, bool)
        return np.where(content, 1 - varied, 0).astype(np.float32)
    return np.rot90(varied, int(rng.integers(1, 4))).copy() if reason == "rotated" else varied


def make_network() -> nn.Sequential:
    """Four strided convolutions; `views.check` runs them without torch."""
    layers: list[nn.Module] = []
    for before, after, kernel in ((1, 12, 5), (12, 24, 3), (24, 48, 3), (48, 64, 3)):
        convolution = nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2, bias=False)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, _Pool(), nn.Dropout(0.1), nn.Linear(128, len(views.CLASSES)))


class _Pool(nn.Module):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1)


def train(pictures: Pictures, *, steps: int, batch: int, seed: int) -> nn.Sequential:
    """Train on random pictures of each class."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = make_network()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    kinds, shares = list(SHARES), np.array(list(SHARES.values()))
    for step in tqdm(range(steps), desc="training", mininterval=5):
        if step == steps // 2:
            pictures = _forget(network.eval(), pictures)
        drawn = rng.choice(len(kinds), size=batch, p=shares / shares.sum())
        images = torch.from_numpy(np.stack([_draw(kinds[kind], pictures, rng) for kind in drawn]))[:, None]
        target = torch.tensor([views.CLASSES.index(kinds[kind]) for kind in drawn])
        loss = nn.functional.cross_entropy(network.train()(images * 2 - 1), target, label_smoothing=0.01)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            tqdm.write(f"step {step}: loss {loss.item():.3f}")
    return network.eval()


def _forget(network: nn.Sequential, pictures: Pictures) -> Pictures:
    """Leave out frontal films that do not look upright."""
    small = np.stack([cv2.resize(film, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for film in pictures["frontal"]])
    with torch.inference_mode():
        chances = torch.cat([network(part[:, None] * 2 - 1).softmax(1) for part in torch.from_numpy(small).split(500)])
    upright = (chances[:, 0] + chances[:, views.CLASSES.index("mirrored")]).numpy()
    tqdm.write(f"left out: {(upright < FORGET).sum()} of {len(upright)} frontal films")
    return pictures | {"frontal": pictures["frontal"][upright >= FORGET]}


def export(network: nn.Sequential, path: Path) -> None:
    """Fold the normalisation into the convolutions and write all weights as float16."""
    arrays: dict[str, np.ndarray] = {}
    modules = list(network)
    for number in range(4):
        convolution, norm = modules[3 * number : 3 * number + 2]
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        arrays[f"kernel{number}"] = (convolution.weight * gain[:, None, None, None]).detach().numpy()
        arrays[f"bias{number}"] = (norm.bias - norm.running_mean * gain).detach().numpy()
    arrays |= {"head": modules[-1].weight.detach().numpy(), "head_bias": modules[-1].bias.detach().numpy()}
    np.savez(path, **{name: array.astype(np.float16) for name, array in arrays.items()})


def gather(root: Path | None, *, patients: int, log: Callable[[str], None] = print) -> Pictures:
    """All pictures to train on."""
    rendered = rendered_films(patients, stream="view network")
    frontal = [rendered["PA"], rendered["AP"], *(real_films(root, ("train",)).values() if root else ())]
    other = photographs(PHOTOGRAPHS, 400, seed=0)
    pictures = {"frontal": np.concatenate(frontal), "lateral": rendered["LATERAL"], "other": other}
    log(", ".join(f"{name} {len(films):,}" for name, films in pictures.items()))
    return {name: films.astype(np.float32) for name, films in pictures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chestxray14", type=Path, help="folder of ChestX-ray14")
    parser.add_argument("--patients", type=int, default=250, help="rendered patients (default: 250)")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(views.__file__).with_name(views.NETWORK_FILE))
    args = parser.parse_args()
    pictures = gather(args.chestxray14, patients=args.patients)
    export(train(pictures, steps=args.steps, batch=args.batch, seed=args.seed), args.out)


if __name__ == "__main__":
    main()
