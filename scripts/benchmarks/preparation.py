"""Measure the speed of the cohort's tables and of the registration on one core, and where the time goes.

    python scripts/benchmarks/preparation.py
    python scripts/benchmarks/preparation.py --rows 20000 --pairs 4 --naive-iterations 1    # a quick look

1. Registration: rendered patients with two visits, enlarged to 2544×3056 and saved as JPEG, become registered pairs of
   256 px. Every step is timed, from the bytes of the two JPEGs to the files of the pair; no study is shared between
   two pairs, which is the most expensive case. One pair also goes through a plain script: SimpleITK reads both files in
   full, registers every pixel at one level, resamples and writes. Some of its iterations are timed; the total is
   reading, writing and as many iterations as this package's search took at its finest level.
   --real FOLDER (studies.csv with patient, offset_days, view_position, filename, and images/) uses consecutive frontal
   images of real patients instead, enlarged in the same way. All of them are then also registered unchanged, at 128 and
   256 px and from several seeds: each lateral onto a frontal image, which must be dropped, and consecutive frontal
   images of one patient, of which nine in ten must be kept.
   Known motions (10°, 10 %, 10 % of scale) of the same images, with an opacity added, must be found.
2. Tables of MIMIC-CXR's size: `cohort --without-images` and `journeys`.
3. `cohort --chestxray14` on torchxrayvision's table of ChestX-ray14 (112,120 images of real patients, empty files), and
   its journeys, against a plain count.

The last line is JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, pairwise
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import SimpleITK as sitk  # noqa: N813
from PIL import Image
from tqdm import tqdm

from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.truth import render_visit
from biomedjourney_monai.preparation.item_record import content_hash
from biomedjourney_monai.preparation.journeys import build_journeys
from biomedjourney_monai.preparation.registration import register as registration
from biomedjourney_monai.preparation.registration import simpleitk
from biomedjourney_monai.preparation.registration.image_pair import ImagePair
from biomedjourney_monai.radiographs import load_with_content, read_png, save_png, scale_intensity
from biomedjourney_monai.radiographs.loading import load_unscaled
from biomedjourney_monai.radiographs.read.pixels import read_pixels

HEIGHT, WIDTH, SIZE = 3056, 2544, 256
MIMIC_ROWS = 377_110
SEEDS = range(1, 6)


class StepTimes:
    """Adds up processor time by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.searches = 0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self.seconds[name] += time.process_time() - start


def write_pairs(folder: Path, count: int) -> list[tuple[Path, Path]]:
    """Write two visits of each of some rendered patients as large JPEGs."""
    pairs, index = [], 0
    with tqdm(total=count, desc="rendering", unit=" pairs", mininterval=2) as bar:
        while len(pairs) < count:
            patient, index = draw_patient(0, index, stream="preparation benchmark"), index + 1
            if len(patient.visits) < 2:
                continue
            paths = tuple(folder / f"{len(pairs)}-{visit}.jpg" for visit in range(2))
            for visit, path in zip(patient.visits, paths):
                image = cv2.resize(render_visit(patient, visit, size=512, view_position="PA").image, (WIDTH, HEIGHT))
                image = image + np.random.default_rng(0).normal(0, 0.01, image.shape)
                Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)).save(path, quality=95)
            pairs.append(paths)
            bar.update()
    return pairs


def enlarge_real(source: Path, folder: Path, count: int) -> list[tuple[Path, Path]]:
    """Write consecutive frontal images of real patients as large JPEGs."""
    studies = pd.read_csv(source / "studies.csv").sort_values(["patient", "offset_days"])
    frontal = studies[studies["view_position"] != "LATERAL"]
    names = [pair for _, group in frontal.groupby("patient") for pair in pairwise(group["filename"])]
    pairs = []
    for number, pair in enumerate(names[:count]):
        paths = tuple(folder / f"{number}-{visit}.jpg" for visit in range(2))
        for name, path in zip(pair, paths):
            pixels = read_pixels(source / "images" / name)
            factor = HEIGHT / max(pixels.shape)
            pixels = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
            Image.fromarray(np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)).save(path, quality=95)
        pairs.append(paths)
    return pairs


def find_known_motions(files: list[tuple[Path, Path]], count: int = 40) -> np.ndarray:
    """Mean error in px of each of some known motions, found again."""
    rng, errors, centre = np.random.default_rng(0), [], (SIZE - 1) / 2
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    loaded = [load_with_content(path, size=SIZE) for pair in files[:10] for path in pair]
    for number in tqdm(range(count), desc="known motions", unit=" pairs"):
        image, content = loaded[number % len(loaded)]
        matrix = cv2.getRotationMatrix2D((centre, centre), rng.uniform(-10, 10), rng.uniform(0.9, 1.1))
        matrix[:, 2] += rng.uniform(-0.1, 0.1, 2) * SIZE
        opacity = 0.25 * np.exp(-(((x - rng.uniform(0.25, 0.75)) / 0.11) ** 2 + ((y - 0.58) / 0.11) ** 2))
        moved_content = cv2.warpAffine(content.astype(np.float32), matrix, (SIZE, SIZE)) > 0.99
        moved = np.clip(0.9 * cv2.warpAffine(image, matrix, (SIZE, SIZE)) + 0.05 + opacity, 0, 1) * moved_content
        found = simpleitk.find_transform(
            ImagePair(image, moved, content, moved_content), transform="similarity", seed=1
        )
        points = np.argwhere(content)[::997, ::-1].astype(float)
        back = np.array([found.TransformPoint(tuple(point)) for point in points])
        errors.append(np.linalg.norm(points @ matrix[:, :2].T + matrix[:, 2] - back, axis=1).mean())
    return np.array(errors)


def prepare_pair(paths: tuple[Path, Path], folder: Path, times: StepTimes) -> registration.Registration:
    """Do for one pair what `biomedjourney register` does, step by step."""
    pictures, contents = [], []
    for path in paths:
        with times.step("decode and letterbox"):
            image, content = load_unscaled(path, size=SIZE)
        with times.step("normalise"):
            image = scale_intensity(image, content)
        with times.step("write pictures"):
            save_png(folder / f"{path.stem}.png", image)
        with times.step("read pictures"):
            pictures.append(read_png(folder / f"{path.stem}.png"))
        contents.append(content)
    with timed_searches(times), times.step("resample and score"):
        result = registration.register(*pictures, *contents)
    with times.step("write pictures"):
        stem = folder / f"{paths[1].stem}-on"
        save_png(stem.with_suffix(".png"), result.image)
        save_png(stem.with_name(f"{stem.name}-valid.png"), result.valid)
    with times.step("write the transform"):
        sitk.WriteTransform(result.transform, str(stem.with_suffix(".tfm")))
    with times.step("hash what was written"):
        for written in folder.glob(f"{paths[1].stem}-on*"):
            content_hash(written)
    return result


@contextmanager
def timed_searches(times: StepTimes) -> Iterator[None]:
    """Count the searches, and book their time on a step of their own and not on the one that they are part of."""
    search = simpleitk.find_transform

    def timed(*images: np.ndarray, **options: object) -> sitk.Transform:
        start = time.process_time()
        found = search(*images, **options)
        times.searches += 1
        times.seconds["search for the transform"] += time.process_time() - start
        times.seconds["resample and score"] -= time.process_time() - start
        return found

    simpleitk.find_transform = timed
    try:
        yield
    finally:
        simpleitk.find_transform = search


def time_naively(paths: tuple[Path, Path], folder: Path, iterations: int) -> tuple[float, float]:
    """Time the plain script on one pair: seconds for everything but the search, and seconds per iteration."""
    start = time.process_time()
    fixed, moving = (sitk.ReadImage(str(path), sitk.sitkFloat32) for path in paths)
    reading = time.process_time() - start
    spent = []
    for count in (1, 1 + iterations):
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(32)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, count)
        method.SetOptimizerScalesFromPhysicalShift()
        geometry = sitk.CenteredTransformInitializerFilter.GEOMETRY
        method.SetInitialTransform(
            sitk.CenteredTransformInitializer(fixed, moving, sitk.Similarity2DTransform(), geometry), inPlace=False
        )
        start = time.process_time()
        found = method.Execute(fixed, moving)
        spent.append(time.process_time() - start)
    start = time.process_time()
    moved = sitk.Resample(moving, fixed, found, sitk.sitkLinear, 0.0)
    sitk.WriteImage(sitk.Cast(moved, sitk.sitkUInt8), str(folder / "naive.png"))
    return reading + time.process_time() - start, (spent[1] - spent[0]) / iterations


def count_finest_iterations(paths: tuple[Path, Path]) -> int:
    """How many iterations this package's own search takes at its finest level, for one pair."""
    (prior, prior_content), (new, new_content) = (load_unscaled(path, size=SIZE) for path in paths)
    images = (scale_intensity(prior, prior_content), scale_intensity(new, new_content))
    pair = ImagePair(*images, prior_content, new_content)
    return simpleitk.count_iterations(pair, transform="similarity", seed=1)[-1]


def measure_registration(pairs: int, naive_iterations: int, real: Path | None) -> tuple[dict, dict]:
    times = StepTimes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = enlarge_real(real, folder, pairs) if real else write_pairs(folder, pairs)
        pairs = len(files)
        prepare_pair(files[0], folder, StepTimes())  # imports and first calls
        results = [prepare_pair(paths, folder, times) for paths in tqdm(files, desc="pairs", unit=" pairs")]
        errors = find_known_motions(files)
        iterations = count_finest_iterations(files[0])
        around, each = time_naively(files[0], folder, naive_iterations)
    seconds = sum(times.seconds.values()) / pairs
    naive = around + each * iterations
    for step, spent in sorted(times.seconds.items(), key=lambda item: -item[1]):
        share = spent / sum(times.seconds.values())
        print(f"{step:26s} {1000 * spent / pairs:7.1f} ms per pair  {share:5.1%}")
    print(f"plain script: {around:.1f} s around the search, {each:.2f} s per iteration, {iterations} iterations")
    figures = {
        "pairs per second and core": round(1 / seconds, 2),
        "searches per pair": round(times.searches / pairs, 2),
        "plain script, seconds per pair": round(naive, 1),
        "times faster than the plain script": round(naive / seconds),
        "median gradient correlation": round(float(np.median([r.gradient_correlation for r in results])), 3),
        "error of known motions, median, px": round(float(np.median(errors)), 3),
        "error of known motions, 95th percentile, px": round(float(np.percentile(errors, 95)), 3),
    }
    bars = {
        "at least 2 pairs per second and core": figures["pairs per second and core"] >= 2,
        "at least 100 times a plain script": figures["times faster than the plain script"] >= 100,
        "known motions are found again": float(np.percentile(errors, 95)) < 1,
    }
    return figures, bars


def measure_real(source: Path, size: int) -> tuple[dict, dict]:
    """Register consecutive frontal images of real patients, and each lateral onto a frontal image, at this size."""
    table = pd.read_csv(source / "studies.csv").sort_values(["patient", "offset_days"])
    lateral = table["view_position"] == "LATERAL"
    frontal = table.loc[~lateral, "filename"].tolist()
    groups = table[~lateral].groupby("patient")["filename"]
    jobs = [(*pair, False) for _, names in groups for pair in pairwise(names)]
    jobs += [(first, name, True) for first, name in zip(cycle(frontal), table.loc[lateral, "filename"])]
    tries = [(seed, below) for seed in SEEDS for below in (registration.RETRY_BELOW, -1.0)]  # -1: a single search
    kept = {(is_lateral, *tried): 0 for is_lateral in (True, False) for tried in tries}
    for prior, new, is_lateral in tqdm(jobs, desc="real pairs", unit=" pairs"):
        (fixed, fixed_content), (moving, moving_content) = (
            load_with_content(source / "images" / name, size=size) for name in (prior, new)
        )
        for seed, below in tries:
            result = registration.register(fixed, moving, fixed_content, moving_content, seed=seed, retry_below=below)
            kept[is_lateral, seed, below] += registration.rejection(result.measures) == ""
    frontal_pairs = sum(not is_lateral for *_, is_lateral in jobs)
    with_retry, single = ([kept[False, seed, below] for seed in SEEDS] for below in (registration.RETRY_BELOW, -1.0))
    laterals = [kept[True, seed, registration.RETRY_BELOW] for seed in SEEDS]
    figures = {
        "frontal pairs of one patient": frontal_pairs,
        "kept, by seed": with_retry,
        "kept with a single search, by seed": single,
        "laterals": len(jobs) - frontal_pairs,
        "laterals kept, by seed": laterals,
    }
    bars = {
        f"every lateral is rejected at {size} px": not any(laterals),
        f"at least 90 % of frontal pairs are kept at {size} px": min(with_retry) >= 0.9 * frontal_pairs,
    }
    return figures, bars


RUN_VERB = """
import re, sys
from pathlib import Path
from biomedjourney_monai.cli.main import main
status = main(sys.argv[2:])
Path(sys.argv[1]).write_text(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
sys.exit(status)
"""
"""Its own peak memory: that of wait4 counts what this process held when it started the child."""


def run_verb(*arguments: str) -> tuple[float, float, float]:
    """Run a verb on two cores: seconds, gigabytes at most, and seconds of processor time."""
    start = time.monotonic()
    with tempfile.NamedTemporaryFile("r") as peak:
        child = subprocess.Popen([sys.executable, "-c", RUN_VERB, peak.name, *arguments], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        if status:
            raise RuntimeError(f"biomedjourney {arguments[0]} ended with status {status}")
        kilobytes = int(peak.read())
    return time.monotonic() - start, kilobytes / 1024**2, usage.ru_utime + usage.ru_stime


def measure_tables(rows: int) -> tuple[dict, dict]:
    with tempfile.TemporaryDirectory() as name:
        source, work = f"{name}/tables", f"{name}/work"
        run_verb("phantom", "--tables-only", "--out", source, "--images", str(rows))
        cohort = run_verb("cohort", "--source", source, "--work", work, "--without-images")
        journeys = run_verb("journeys", "--work", work)
        kept = len(pd.read_parquet(f"{work}/journeys.parquet"))
    seconds, gigabytes = cohort[0] + journeys[0], max(cohort[1], journeys[1])
    figures = {
        "rows": rows,
        "journeys": kept,
        "cohort, s": round(cohort[0], 1),
        "journeys, s": round(journeys[0], 1),
        "both, processor s": round(cohort[2] + journeys[2], 1),  # what a busy machine does not lengthen much
        "peak, GB": round(gigabytes, 2),
    }
    return figures, {"tables in under 20 s": seconds < 20, "tables in under 2 GB": gigabytes < 2}


def write_chestxray14(folder: Path) -> None:
    """torchxrayvision's table in the layout of the download: twelve folders of empty files, and the two lists."""
    import torchxrayvision

    table = pd.read_csv(Path(torchxrayvision.__file__).parent / "data" / "Data_Entry_2017_v2020.csv.gz")
    folder.mkdir()
    table.to_csv(folder / "Data_Entry_2017_v2020.csv", index=False)
    in_test = table["Patient ID"] % 10 == 0
    table.loc[in_test, "Image Index"].to_csv(folder / "test_list.txt", index=False, header=False)
    table.loc[~in_test, "Image Index"].to_csv(folder / "train_val_list.txt", index=False, header=False)
    for row, name in enumerate(table["Image Index"]):
        images = folder / f"images_{row * 12 // len(table) + 1:03}" / "images"
        images.mkdir(parents=True, exist_ok=True)
        (images / name).touch()


def measure_chestxray14() -> tuple[dict, dict]:
    with tempfile.TemporaryDirectory() as name:
        source, work = Path(name, "download"), Path(name, "work")
        write_chestxray14(source)
        cohort = run_verb("cohort", "--chestxray14", str(source), "--work", str(work))
        studies = pd.read_parquet(work / "studies.parquet")
    start = time.process_time()
    journeys, drops = build_journeys(studies)
    seconds = time.process_time() - start
    numbers = defaultdict(set)
    for subject, moment in zip(studies["subject_id"], studies["study_datetime"]):
        numbers[subject].add(moment)
    expected = sum(len(of_one) - 1 for of_one in numbers.values())
    figures = {
        "cohort, s": round(cohort[0], 1),
        "cohort, processor s": round(cohort[2], 1),
        "cohort, peak GB": round(cohort[1], 2),
        "PA studies": len(studies),
        "patients": len(numbers),
        "journeys": len(journeys),
        "dropped": drops,
        "journeys, s": round(seconds, 2),
    }
    return figures, {
        "cohort of ChestX-ray14 in under 15 s": cohort[0] < 15,
        "in under 1 GB": cohort[1] < 1,
        "journeys of ChestX-ray14 agree with a plain count": len(journeys) == expected,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=MIMIC_ROWS, help=f"rows of the tables (default: {MIMIC_ROWS})")
    parser.add_argument("--pairs", type=int, default=20, help="pairs to register (default: 20)")
    parser.add_argument("--naive-iterations", type=int, default=5, help="of the plain script, to time (default: 5)")
    parser.add_argument("--real", type=Path, metavar="FOLDER", help="real radiographs instead of rendered ones")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    figures, bars = {}, {}
    for name, measured in (
        ("registration", measure_registration(args.pairs, args.naive_iterations, args.real)),
        ("tables", measure_tables(args.rows)),
        ("ChestX-ray14", measure_chestxray14()),
        *(
            [(f"real radiographs, {size} px", measure_real(args.real, size)) for size in (128, SIZE)]
            if args.real
            else []
        ),
    ):
        figures[name] = measured[0]
        bars |= measured[1]
        print(name, *(f"{key} {value}" for key, value in measured[0].items()), sep="  ")
    print(json.dumps({"figures": figures, "bars": bars}))


if __name__ == "__main__":
    main()
