"""Search guidance scales and `keep_unchanged` on validation journeys: accuracy against retention, and the best CMIG.

Samples the journeys at every pair of the two scales, puts back what each threshold keeps of the prior, and scores as
`evaluate` does. Writes tune/tune.json, tune/tune.md and tune/tune.png. What an earlier run has scored with the same
model, journeys and settings is not sampled again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.cli.bundle_model import (
    bundle_folder,
    compose_networks,
    image_size,
    load_generator,
    model_file,
    read_square_images,
)
from biomedjourney_monai.cli.sampling_arguments import (
    add_sampling_arguments,
    check_sampling_arguments,
    require_at_least_one,
)
from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.schema import PAIRS_FILE, SPLITS, TRIPLES_FILE

if TYPE_CHECKING:
    from biomedjourney_monai.evaluation.systems.true_counterfactuals import TrueCounterfactuals
    from biomedjourney_monai.evaluation.tuning.validation_score import ValidationScore

EXAMPLE = (
    "biomedjourney tune --work work --limit 100\n"
    "  biomedjourney tune --work work --text-guidance-scales 3 --image-guidance-scales 2 --keep-unchanged 0 0.05 0.1"
)
FOLDER = "tune"
SETTINGS = ("steps", "solver", "guidance_interval")
"""Of the sampler, beside what is searched."""

SEARCHED = ("text_guidance_scale", "image_guidance_scale", "keep_unchanged")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--work", required=True, metavar="DIR", help="working folder")
    parser.add_argument("--split", choices=SPLITS, default="validate", help="journeys (default: validate)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N journeys")
    parser.add_argument("--batch-size", type=int, default=16, help="images at once (default: 16)")
    parser.add_argument(
        "--text-guidance-scales", type=float, nargs="+", metavar="S", default=[1, 2, 3, 4], help="(default: 1 2 3 4)"
    )
    parser.add_argument(
        "--image-guidance-scales", type=float, nargs="+", metavar="S", default=[1, 1.5, 2], help="(default: 1 1.5 2)"
    )
    parser.add_argument("--models", metavar="DIR", help="folder of the judges (default: models/ of the bundle)")
    parser.add_argument(
        "--truth",
        metavar="DIR",
        help="true counterfactuals of rendered patients, as for `evaluate`: PSNR to them inside and outside the changed"
        " region; `phantom --truth validate` writes them",
    )
    add_sampling_arguments(parser, scales=False, several_thresholds=True)


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    from tqdm import tqdm

    from biomedjourney_monai.evaluation.tuning.frontier import summarise_points
    from biomedjourney_monai.evaluation.tuning.markdown import format_points, format_tuning
    from biomedjourney_monai.files import write_json, written_atomically

    check_sampling_arguments(arguments)
    require_at_least_one(arguments, "batch_size", "limit")
    pairs = [(t, i) for t in arguments.text_guidance_scales for i in arguments.image_guidance_scales]
    if not all(math.isfinite(scale) for pair in pairs for scale in pair):
        raise BiomedJourneyError("guidance scales must be finite numbers", found="another")
    work, file = Path(arguments.work), Path(arguments.work) / FOLDER / "tune.json"
    triples = _read_triples(work, arguments)
    truth = _open_truth(arguments)
    settings = _settings(arguments, work, triples) | {"truth": _truth_used(truth, work, triples)}
    if truth is not None:
        _tell_truths(settings)
    thresholds, known = _thresholds(arguments), _known_scores(file, settings)
    sampling = _Sampling(arguments, work, triples, truth)
    points: list[dict[str, Any]] = []
    with tqdm(total=len(pairs) * len(triples), desc="tune", unit="image") as bar:
        for pair in pairs:
            missing = [threshold for threshold in thresholds if (*pair, threshold) not in known]
            for threshold, scores in zip(missing, sampling.scores(*pair, missing, bar) if missing else []):
                known[(*pair, threshold)] = scores
            bar.update(0 if missing else len(triples))
            for threshold in thresholds:
                place = (*pair, threshold)
                points.append({**dict(zip(SEARCHED, place)), **known[place]})
            write_json(file, {"settings": settings, "points": points})
    content = {"settings": settings, "points": points, **summarise_points(points)}
    write_json(file, content)
    with written_atomically(file.with_suffix(".md")) as temporary:
        temporary.write_text(format_tuning(content), encoding="utf-8")
    _draw(file.with_suffix(".png"), points, content)
    print("\n".join(format_points(points, frontier=content["frontier"], best=content["best"])))
    print(f"wrote {file}, and tune.md and tune.png beside it")


def _read_triples(work: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from biomedjourney_monai.files import read_json_lines

    keys = ("journey_id", "split", "prior_image", "progression_description")
    rows = read_json_lines(work / TRIPLES_FILE, made_by="describe", keys=keys)
    triples = [row for row in rows if row["split"] == arguments.split][: arguments.limit]
    if not triples:
        raise BiomedJourneyError(f"{work / TRIPLES_FILE} must hold journeys of split {arguments.split}", found="none")
    return triples


def _settings(arguments: argparse.Namespace, work: Path, triples: list[dict[str, Any]]) -> dict[str, Any]:
    """All that a score depends on beside what is searched, and the truths."""
    from biomedjourney_monai.evaluation.judges.loading import CLASSIFIER_FILE, SEGMENTER_FILE
    from biomedjourney_monai.files import file_hash
    from biomedjourney_monai.networks.weights.model_file import weights_hash

    parser = compose_networks(arguments, sampler=_sampler_changes(arguments))
    sampler = parser.config["sampler"]
    digest = hashlib.sha256(json.dumps(triples, sort_keys=True).encode())
    digest.update(file_hash(work / PAIRS_FILE).encode() if (work / PAIRS_FILE).is_file() else b"")
    for row in triples:
        digest.update(file_hash(work / row["prior_image"]).encode())
    judges = [_judges_folder(arguments) / name for name in (CLASSIFIER_FILE, SEGMENTER_FILE)]
    return {
        "judges": [file_hash(path) for path in judges if path.is_file()],
        "model": weights_hash(model_file(arguments)),
        "split": arguments.split,
        "journeys": len(triples),
        "journeys_hash": digest.hexdigest(),
        "sampler": {name: sampler[name] for name in SETTINGS},
        "seed": arguments.seed,
        "batch_size": arguments.batch_size,
        "precision": arguments.precision or parser.get("denoiser_precision"),
        "overlay": file_hash(arguments.overlay) if arguments.overlay else None,
    }


def _sampler_changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of the sampler beside what is searched; the rest is the configuration's."""
    return {name: value for name in SETTINGS if (value := getattr(arguments, name)) is not None}


def _thresholds(arguments: argparse.Namespace) -> list[float]:
    """Values of `keep_unchanged` to search, each once; the configuration's where none is given."""
    if arguments.keep_unchanged is None:
        return [float(compose_networks(arguments).get_parsed_content("sampler#keep_unchanged"))]
    return list(dict.fromkeys(arguments.keep_unchanged))


def _judges_folder(arguments: argparse.Namespace) -> Path:
    return Path(arguments.models) if arguments.models else bundle_folder(arguments) / "models"


def _open_truth(arguments: argparse.Namespace) -> TrueCounterfactuals | None:
    """The folder of `--truth`; a missing table ends the run before anything is sampled."""
    from biomedjourney_monai.evaluation.systems.true_counterfactuals import TrueCounterfactuals

    if arguments.truth is None:
        return None
    truth = TrueCounterfactuals(Path(arguments.truth), size=image_size(arguments))
    truth.files  # noqa: B018
    return truth


def _truth_used(truth: TrueCounterfactuals | None, work: Path, triples: list[dict[str, Any]]) -> dict[str, Any] | None:
    """How many of the journeys have a true counterfactual, and the hash of those."""
    from biomedjourney_monai.files import file_hash, read_table

    if truth is None:
        return None
    keys = ["journey_id", "prior_dicom_id", "new_study_id"]
    wanted = {row["journey_id"] for row in triples}
    rows = read_table(work / PAIRS_FILE, columns=keys, made_by="register")[keys].to_dict("records")
    paths = [truth.path(row) for row in rows if row["journey_id"] in wanted and truth.has(row)]
    return {
        "journeys": len(paths),
        "hash": hashlib.sha256("".join(file_hash(path) for path in paths).encode()).hexdigest(),
    }


def _tell_truths(settings: dict[str, Any]) -> None:
    """Say how many journeys the numbers against the truth are of."""
    known, journeys = settings["truth"]["journeys"], settings["journeys"]
    if known < journeys:
        print(
            f"{journeys - known} of {journeys} journeys have no true counterfactual and are left out of inside and"
            f" outside; `phantom --truth {settings['split']}` writes such"
        )


def _known_scores(file: Path, settings: dict[str, Any]) -> dict[tuple[float, ...], dict[str, float]]:
    """What an earlier run has scored in the same way, by what was searched."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["settings"] != settings:
            return {}
        return {
            tuple(point[name] for name in SEARCHED): {key: value for key, value in point.items() if key not in SEARCHED}
            for point in content["points"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


class _Sampling:
    """Samples every journey at a pair of scales, and scores what came of it at each threshold.

    The model is loaded when it is first needed.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        work: Path,
        triples: list[dict[str, Any]],
        truth: TrueCounterfactuals | None,
    ) -> None:
        self.arguments, self.work, self.triples, self.truth = arguments, work, triples, truth
        self._generator: Any = None
        self._score: ValidationScore | None = None

    def scores(
        self, text_scale: float, image_scale: float, thresholds: list[float], bar: Any
    ) -> list[dict[str, float]]:
        """For each threshold the scores; the denoiser runs once for all of them."""
        import numpy as np
        import torch

        self._load()
        self._generator.sampler.text_guidance_scale = text_scale
        self._generator.sampler.image_guidance_scale = image_scale
        a, size = self.arguments, image_size(self.arguments)
        images: list[list[np.ndarray]] = [[] for _ in thresholds]
        for start in range(0, len(self.triples), a.batch_size):
            batch = self.triples[start : start + a.batch_size]
            priors = torch.from_numpy(read_square_images(self.work, [row["prior_image"] for row in batch], size=size))
            seeds = [a.seed + start + offset for offset in range(len(batch))]
            descriptions = [row["progression_description"] for row in batch]
            made = self._generator.keeping(priors[:, None], descriptions, seeds=seeds, thresholds=thresholds)
            for mine, counterfactuals in zip(images, made):
                mine.append(counterfactuals[:, 0].cpu().numpy())
            bar.update(len(batch))
        journeys = [row["journey_id"] for row in self.triples]
        return [self._score(journeys, np.concatenate(mine)) for mine in images]

    def _load(self) -> None:
        from biomedjourney_monai.cli.evaluation_requests import read_requests
        from biomedjourney_monai.evaluation.tuning.validation_score import ValidationScore

        if self._generator is None:
            self._generator = load_generator(self.arguments, **_sampler_changes(self.arguments))
            judges, requests = _judges_folder(self.arguments), read_requests(self.work)
            self._score = ValidationScore(self.work, judges_dir=judges, requests=requests, truth=self.truth)


def _draw(path: Path, points: list[dict[str, Any]], content: dict[str, Any]) -> None:
    """Retention over accuracy: a dot for each point, the frontier, and the best."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from biomedjourney_monai.files import written_atomically

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    across, up = content["accuracy"], content["retention"]
    several = len({point["keep_unchanged"] for point in points}) > 1
    axes.plot([across[n] for n in content["frontier"]], [up[n] for n in content["frontier"]], color="0.7", zorder=1)
    axes.scatter(across, up, color="tab:blue", zorder=2)
    axes.scatter([across[content["best"]]], [up[content["best"]]], color="tab:red", zorder=3, label="best CMIG")
    for x, y, point in zip(across, up, points):
        words = ", ".join(f"{point[name]:g}" for name in (SEARCHED if several else SEARCHED[:2]))
        if math.isfinite(x) and math.isfinite(y):
            axes.annotate(words, (x, y), textcoords="offset points", xytext=(5, 4), fontsize=8)
    axes.margins(x=0.14)  # room for the last point's words
    axes.set(xlabel="accuracy: pathology AUROC", ylabel="retention: mean of race AUROC and age r")
    axes.set_title("guidance scales (text, image)" + (" and what is kept below" if several else ""))
    axes.legend(loc="lower left")
    with written_atomically(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata={"Software": None})
