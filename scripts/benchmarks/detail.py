"""Compare three ways to bring a counterfactual to the film's size with rendered truth at that size.

    python scripts/benchmarks/detail.py --journeys 200 --cache /tmp/detail --real FOLDER_OF_FILMS

Each journey is a rendered patient at 1024 pixels: the prior, and the true counterfactual with the findings of the next
visit. "plain" enlarges the model's picture, "added" adds the enlarged difference to the film, "ours" is
`generation.detail`. The changed region is where prior and truth differ by more than 0.08 at the model's size; journeys
without one are left out of the figures "changed journeys", as their gain says little. Every journey also asks for no
change, in the words of its findings. So does every film of --real, in general words; and four changes are drawn over
it, after which the small bright objects on it, letters and metal for the most part, must still show.
Settings are chosen on the journeys of --validation. --calibrate prints, without a model, how much of the film's fine
structure is left in the truth where `generation.detail` computes a share.

The last line is JSON: {"figures": {...}, "bars": {...}}. A journey costs 1.6 processor seconds to render, which --cache
saves the next time, and 0.7 to generate and compare.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch

from biomedjourney_monai.cli.arguments import add_sampling_arguments, counterfactual_model
from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.evaluation.judges.loading import load_judges
from biomedjourney_monai.evaluation.metrics.truth_error import changed_region
from biomedjourney_monai.files import written_atomically
from biomedjourney_monai.generation.detail import DETAILS, NONE, TRANSFER, find_change, transfer_detail
from biomedjourney_monai.generation.finish import finished_picture, full_size_prior
from biomedjourney_monai.generation.finish import full_size as full_size_picture
from biomedjourney_monai.generation.model import CounterfactualModel
from biomedjourney_monai.generation.prior import Prior, read_prior
from biomedjourney_monai.generation.request import Request
from biomedjourney_monai.generation.writer import PictureWriter
from biomedjourney_monai.phantom.cohort import as_grey
from biomedjourney_monai.phantom.findings import SIDES, FindingState
from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.truth import anatomy_of, render_counterfactual
from biomedjourney_monai.preparation.descriptions.progression import write_progression
from biomedjourney_monai.preparation.reports.states import State, StudyState
from biomedjourney_monai.radiographs.scaling import letterbox, resize, restore
from biomedjourney_monai.radiographs.write.dicom import counterfactual_dataset, save_dicom
from biomedjourney_monai.schema import FINDINGS

SEED, STREAMS = 97, {"test": "detail", "validation": "detail validation"}
UNCHANGED = ("No interval change.", "Unchanged.", "Stable appearance of the chest.", "No significant interval change.")
CHANGES = (
    "New large left pleural effusion.",
    "New moderate right pleural effusion and bibasilar atelectasis.",
    "New severe pulmonary edema. The heart is enlarged.",
    "New right lower lobe consolidation. New small left pneumothorax.",
)
OBJECT_VIEW = 1024
READABLE = 0.75  # lowest correlation in an object's box; to the eye a pacemaker at 0.78 has lost contrast, but no part
SIDED = ("Atelectasis", "Pleural Effusion", "Pneumothorax")
BATCH = 16
LARGE = (3000, 2500)
WAYS = ("plain", "added", "ours")
SCALES = 5


@dataclass(frozen=True)
class Journey:
    """A film, what is asked for, and the true answer on the film's grey scale."""

    film: np.ndarray  # uint8, shape (S, S)
    truth: np.ndarray  # float32, same shape, 0 to 1
    text: str
    unchanged: str


def journeys_of(split: str, count: int, *, size: int, cache: Path | None = None) -> Iterator[Journey]:
    """The first journeys of a split; with `cache` their pictures are kept in that folder."""
    index = made = 0
    while made < count:
        file = cache and cache / f"{split}-{size}-{index:04d}.npz"
        if file and file.exists():
            with np.load(file) as kept:
                truth = kept["truth"] / np.float32(65535)
                journey = Journey(kept["film"], truth, *map(str, kept["texts"])) if truth.size else None
        else:
            journey = draw_journey(index, split=split, size=size)
            if file:
                save_journey(file, journey)
        index += 1
        if journey is not None:
            made += 1
            yield journey


def save_journey(file: Path, journey: Journey | None) -> None:
    """Keep a rendered journey, its truth in 16 bits; an empty file for a patient with one visit."""
    file.parent.mkdir(parents=True, exist_ok=True)
    none = np.zeros(0)
    truth, film = (none, none) if journey is None else (np.rint(journey.truth * 65535), journey.film)
    texts = [] if journey is None else [journey.text, journey.unchanged]
    with written_atomically(file) as part, part.open("wb") as stream:
        np.savez_compressed(stream, truth=truth.astype(np.uint16), film=film.astype(np.uint8), texts=np.array(texts))


def draw_journey(index: int, *, split: str, size: int) -> Journey | None:
    """A journey of the patient with this number; None for a patient with one visit."""
    patient = draw_patient(SEED, index, stream=STREAMS[split])
    if len(patient.visits) < 2:
        return None
    before, after = patient.visits[:2]
    visit, anatomy, rng = replace(before, view_position="PA"), anatomy_of(patient), np.random.default_rng(index)
    films = [
        render_counterfactual(patient, visit, findings, size=size, anatomy=anatomy).image
        for findings in (before.findings, after.findings)
    ]
    states = state_of(before.findings), state_of(after.findings)
    texts = [write_progression(states[0], state, rng=rng) for state in (states[1], states[0])]
    return Journey(as_grey(films[0]), films[1], *texts)


def state_of(findings: FindingState) -> StudyState:
    """The findings as a report states them."""
    found = {}
    for label in FINDINGS:
        sides = SIDES if label in SIDED else ("",)
        severities = {side: findings.severity(label, side or None) for side in sides}
        severities = {side: severity for side, severity in severities.items() if severity}
        if severities:
            found[label] = State(severities)
    return StudyState(found)


def full_size(square: np.ndarray, prior: Prior) -> dict[str, np.ndarray]:
    """A square at the film's size in three ways, float32 in [0, 1], on the film's grey scale."""
    film = prior.film
    assert film is not None
    grey, low = film.grey(), film.limits[0] / 255
    added = grey + restore(square - prior.image, film.hw) * film.scale
    ours = transfer_detail(grey, find_change(square, prior.image, film.hw), scale=film.scale)
    return {"plain": restore(square, film.hw) * film.scale + low, "added": np.clip(added, 0, 1), "ours": ours}


def compare(journey: Journey, prior: Prior, square: np.ndarray) -> dict[str, float]:
    """The figures of one journey."""
    film = prior.film
    assert film is not None
    grey, size = film.grey(), len(square)
    truth = np.clip(
        (resize(journey.truth, size, size) * 255 - film.limits[0]) / (film.limits[1] - film.limits[0]), 0, 1
    )
    small = changed_region(*(torch.from_numpy(picture)[None, None].float() for picture in (prior.image, truth)))
    inside = cv2.resize(small[0, 0].numpy().astype(np.uint8), film.hw[::-1], interpolation=cv2.INTER_NEAREST) > 0
    figures: dict[str, float] = {}
    for way, picture in full_size(square, prior).items():
        figures[f"psnr {way}"] = psnr(picture, journey.truth)
        if inside.any():
            figures[f"psnr of changed journeys {way}"] = figures[f"psnr {way}"]
            figures[f"psnr inside {way}"] = psnr(picture[inside], journey.truth[inside])
        figures[f"ms-ssim outside {way}"] = ms_ssim(picture, journey.truth, ~inside)
        figures[f"gradient energy {way}"] = (
            gradient_energy(picture)[~inside].sum() / gradient_energy(grey)[~inside].sum()
        )
        figures[f"equal pixels {way}"] = float((np.rint(picture * 255) == film.stored).mean())
    return figures


def psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    return float(-10 * np.log10(max(np.square(picture - truth).mean(), 1e-6)))


def gradient_energy(picture: np.ndarray) -> np.ndarray:
    return cv2.Sobel(picture, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(picture, cv2.CV_32F, 0, 1) ** 2


def ms_ssim(picture: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """Multi-scale SSIM over a region (Wang et al. 2003), images in [0, 1]."""
    weights, product, share = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333), 1.0, where.astype(np.float32)

    def blur(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (11, 11), 1.5)

    for scale, weight in enumerate(weights):
        m, n = blur(picture), blur(truth)
        v, w, vw = blur(picture**2) - m * m, blur(truth**2) - n * n, blur(picture * truth) - m * n
        similarity = (2 * vw + 9e-4) / (v + w + 9e-4)
        if scale == SCALES - 1:
            similarity = similarity * (2 * m * n + 1e-4) / (m * m + n * n + 1e-4)
        product *= max(float((similarity * share).sum() / share.sum()), 0) ** weight
        half = (picture.shape[1] // 2, picture.shape[0] // 2)
        picture, truth, share = (cv2.resize(a, half, interpolation=cv2.INTER_AREA) for a in (picture, truth, share))
    return product


def draw(model: CounterfactualModel, priors: list[Prior], texts: list[str]) -> np.ndarray:
    """Squares of requests, generated in batches, shape (N, S, S); the seed is the request's number."""
    squares = []
    for start in range(0, len(priors), BATCH):
        rows = range(start, min(start + BATCH, len(priors)))
        checked = [model.check(Request(priors[row], texts[row], seed=row, force=True)) for row in rows]
        images = np.stack([one.prior.image for one in checked])
        made = model.draw(images, [one.text for one in checked], [one.seeds[0] for one in checked])
        drawn = np.array([one.draws_nothing for one in checked])[:, None, None]
        squares.append(np.where(drawn, images, made.images[:, 0].cpu().numpy()))
    return np.concatenate(squares)


def measure(model: CounterfactualModel, journeys: Iterable[Journey]) -> dict[str, float]:
    """Mean figures over journeys, and how far the judges' mean scores move at the model's size."""
    judges, rows = load_judges(model.config.models), defaultdict(list)
    squares, seen = [], []
    remaining, number = iter(journeys), 0
    while batch := list(islice(remaining, BATCH)):
        priors = [read_prior(journey.film, size=model.size) for journey in batch]
        made = draw(model, priors, [journey.text for journey in batch])
        same = draw(model, priors, [journey.unchanged for journey in batch])
        for journey, prior, square, unchanged in zip(batch, priors, made, same, strict=True):
            for name, value in compare(journey, prior, square).items():
                rows[name].append(value)
            film = prior.film
            assert film is not None
            low, high = film.limits
            ours, _ = letterbox(full_size(square, prior)["ours"] * 255, size=model.size)
            squares.append(square)
            seen.append(np.clip((ours - low) / (high - low), 0, 1))
            rows["equal pixels after no change"].append(equal_pixels(unchanged, prior))
        number += len(batch)
        print(f"{number} journeys", file=sys.stderr)
    scores = [judges.score(torch.from_numpy(np.stack(many))[:, None]).pathology.numpy() for many in (squares, seen)]
    figures = {name: float(np.mean(values)) for name, values in rows.items()}
    ours, plain = (np.array(rows[f"psnr of changed journeys {way}"]) for way in ("ours", "plain"))
    figures |= {"changed journeys": len(ours), "median gain of changed journeys": float(np.median(ours - plain))}
    figures["judges' mean scores apart"] = float(np.abs(scores[0].mean(axis=0) - scores[1].mean(axis=0)).max())
    figures["judges' verdicts that differ"] = float(((scores[0] > 0.5) != (scores[1] > 0.5)).mean())
    return figures


def measure_real(model: CounterfactualModel, folders: list[Path], films: int) -> dict[str, float]:
    """Equal pixels of real films after a request for no change, objects after others, and how many were refused."""
    priors: list[Prior] = []
    figures = {"real films refused": 0.0}
    for folder in folders:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        for file in files[:: max(1, len(files) // films)][:films]:
            try:
                prior = read_prior(file, size=model.size)
                model.check(Request(prior, UNCHANGED[0]))
                priors.append(prior)
            except BiomedJourneyError:
                figures["real films refused"] += 1
    texts = [UNCHANGED[number % len(UNCHANGED)] for number in range(len(priors))]
    shares = [equal_pixels(*pair) for pair in zip(draw(model, priors, texts), priors, strict=True)]
    figures |= {"real films": len(shares), "equal pixels after no change, real": float(np.mean(shares))}
    lowest = {"ours": np.ones(len(priors)), "plain": np.ones(len(priors))}
    for text in CHANGES:
        for number, (square, prior) in enumerate(zip(draw(model, priors, [text] * len(priors)), priors, strict=True)):
            for way, kept in lowest.items():
                detail = TRANSFER if way == "ours" else NONE
                made = full_size_picture(square, prior, detail=detail)
                kept[number] = min(kept[number], objects_kept(full_size_prior(prior), made))
    for way, kept in lowest.items():
        figures[f"real films with readable objects {way}"] = int((kept >= READABLE).sum())
    figures["lowest correlation of an object ours"] = float(lowest["ours"].min())
    return figures


def objects_kept(film: np.ndarray, made: np.ndarray) -> float:
    """The lowest correlation of fine structure in the box of a small bright object of the film; 1 without objects."""
    share = OBJECT_VIEW / max(film.shape)
    before, after = (resize(picture, *(round(side * share) for side in film.shape)) for picture in (film, made))
    height = cv2.morphologyEx(before, cv2.MORPH_TOPHAT, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (17, 17)))
    parts = cv2.dilate((height > 0.2).astype(np.uint8), np.ones((7, 7), np.uint8))
    boxes = [box[:4] for box in cv2.connectedComponentsWithStats(parts)[2][1:] if box[4] >= 120]
    old, new = (picture - cv2.GaussianBlur(picture, (0, 0), 6) for picture in (before, after))
    inside = [(slice(top, top + rows), slice(left, left + columns)) for left, top, columns, rows in boxes]
    return min((float(np.corrcoef(old[box].ravel(), new[box].ravel())[0, 1]) for box in inside), default=1.0)


def equal_pixels(square: np.ndarray, prior: Prior) -> float:
    """The share of the film's pixels whose stored values stay, without the mark."""
    film = prior.film
    assert film is not None
    return float((film.to_stored(full_size_picture(square, prior)) == film.stored).mean())


def measure_cost(model: CounterfactualModel, journey: Journey) -> dict[str, float]:
    """Processor seconds and peak memory that a large DICOM film of 12 bits costs more than its enlargement."""
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prior.dcm"
        write_large(file, journey.film)
        seconds, peaks = {}, {}
        for detail in DETAILS:
            times = []
            reset_peak()
            for _ in range(3):
                prior = read_prior(file, size=model.size)  # anew: a film is read at its first use
                square = np.clip(prior.image + 0.3 * (np.mgrid[: model.size, : model.size][0] > model.size // 2), 0, 1)
                started = time.process_time()
                picture = finished_picture(square.astype(np.float32), prior, detail=detail)
                PictureWriter(prior).write(Path(folder) / "made.dcm", picture, {"seed": 0, "detail": detail})
                times.append(time.process_time() - started)
            seconds[detail], peaks[detail] = min(times), peak_megabytes()
        figures["seconds more"] = seconds[TRANSFER] - seconds[NONE]
        figures["megabytes more"] = peaks[TRANSFER] - peaks[NONE]
    return figures


def write_large(file: Path, film: np.ndarray) -> None:
    """A DICOM film of 3000 × 2500 pixels and 12 bits."""
    pixels = cv2.resize(film.astype(np.float32) * 16, LARGE[::-1], interpolation=cv2.INTER_CUBIC)
    dataset = counterfactual_dataset(film[:96, :96] / np.float32(255), {"seed": 0}, None)
    dataset.Rows, dataset.Columns = LARGE
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.WindowCenter, dataset.WindowWidth = 2047.5, 4095
    dataset.PixelData = np.clip(np.rint(pixels), 0, 4095).astype("<u2").tobytes()
    save_dicom(file, dataset)


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_megabytes() -> float:
    """The peak of this process's memory since `reset_peak`; Linux only."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def calibrate(journeys: Iterable[Journey], *, model_size: int) -> None:
    """Print, for each computed share, the regression slope of the truth's fine structure on the film's."""
    sums = np.zeros((2, 2, 6))
    for journey in journeys:
        pictures = journey.film / np.float32(255), journey.truth
        prior, square = (resize(picture, model_size, model_size) for picture in pictures)
        change = find_change(square, prior, journey.film.shape)
        for octave, times in enumerate((2, 4)):
            fine = [resize(picture, times * model_size, times * model_size) for picture in pictures]
            half = [resize(picture, times * model_size // 2, times * model_size // 2) for picture in pictures]
            old, new = (f - cv2.resize(h, f.shape, interpolation=cv2.INTER_CUBIC) for f, h in zip(fine, half))
            kept = cv2.resize(change.kept, old.shape, interpolation=cv2.INTER_LINEAR)
            where = np.abs(cv2.resize(change.amount, old.shape)) > 0.03
            bins = np.minimum((kept[where] * 6).astype(int), 5)
            for row, weights in enumerate((old * new, old * old)):
                sums[octave, row] += np.bincount(bins, weights[where], 6)[:6]
    for octave, (products, squares) in enumerate(sums):
        print(f"octave {octave + 1}: share left {np.round(products / np.maximum(squares, 1e-9), 2).tolist()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--journeys", type=int, default=200, help="(default: 200)")
    parser.add_argument("--size", type=int, default=1024, help="of the rendered films, pixels (default: 1024)")
    parser.add_argument("--validation", action="store_true", help="the journeys on which settings are chosen")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep the rendered journeys in this folder")
    parser.add_argument("--real", type=Path, action="append", default=[], metavar="DIR", help="real films; repeat it")
    parser.add_argument("--films", type=int, default=20, help="of each folder of --real (default: 20)")
    parser.add_argument("--calibrate", action="store_true", help="print the shares of fine structure, and stop")
    add_sampling_arguments(parser)
    args = parser.parse_args()
    model = counterfactual_model(args)
    split = "validation" if args.validation else "test"
    journeys = journeys_of(split, args.journeys, size=args.size, cache=args.cache)
    if args.calibrate:
        calibrate(journeys, model_size=model.size)
        return
    first = next(journeys_of(split, 1, size=args.size, cache=args.cache))
    figures = measure_cost(model, first) | measure(model, journeys)
    if args.real:
        figures |= measure_real(model, args.real, args.films)
    gains = [figures[f"psnr{of} ours"] - figures[f"psnr{of} plain"] for of in ("", " of changed journeys")]
    bars = {
        "psnr >= plain + 4 dB": gains[0] >= 4,
        "psnr >= plain + 4 dB, mean of changed journeys": gains[1] >= 4,
        "psnr inside >= plain": figures["psnr inside ours"] >= figures["psnr inside plain"],
        "ms-ssim outside >= .97": figures["ms-ssim outside ours"] >= 0.97,
        "equal pixels after no change >= .95": figures["equal pixels after no change"] >= 0.95,
        "gradient energy outside >= .98": figures["gradient energy ours"] >= 0.98,
        "judges' mean scores within .003": figures["judges' mean scores apart"] <= 0.003,
        "under 0.3 s more": figures["seconds more"] < 0.3,
        "at most 400 MB more": figures["megabytes more"] <= 400,
    }
    if args.real:
        bars["equal pixels after no change, real >= .95"] = figures["equal pixels after no change, real"] >= 0.95
        readable = figures["real films with readable objects ours"]
        bars["readable objects on every real film, of 20 or more"] = readable == figures["real films"] >= 20
    for name, value in figures.items():
        print(f"{name}: {value:.4f}")
    print(json.dumps({"figures": {name: round(value, 4) for name, value in figures.items()}, "bars": bars}))


if __name__ == "__main__":
    main()
