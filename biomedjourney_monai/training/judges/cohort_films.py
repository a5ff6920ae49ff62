"""Read the films and labels of a cohort's studies, to train judges on."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas

from biomedjourney_monai.errors import ImageError, TableError
from biomedjourney_monai.evaluation.judges.networks import JUDGE_SIZE
from biomedjourney_monai.evaluation.metrics.labels import apply_label_policy, male_sex, race_group
from biomedjourney_monai.files import read_table
from biomedjourney_monai.preparation.parallel import Workers, map_in_processes
from biomedjourney_monai.radiographs import load_radiograph
from biomedjourney_monai.schema import CHEXPERT_LABELS, SPLITS, STUDIES_FILE, STUDY_COLUMNS
from biomedjourney_monai.training.judges.films import Films


def read_films(work: str | Path, *, processes: int | None = None) -> tuple[dict[str, Films], dict[str, int]]:
    """Read the films of every study, scaled as a model sees them, with their labels.

    A label that the cohort never names is unknown throughout; where it is named for others, unmentioned is absent.

    Returns:
        Split -> films; and how many could not be read, by reason.

    Raises:
        TableError: if studies.parquet is missing or unusable, or has no readable film to train or to validate on.
    """
    studies = read_table(Path(work) / STUDIES_FILE, columns=STUDY_COLUMNS, made_by="cohort")
    workers = Workers.of(processes)
    read = map_in_processes(
        _read, studies["image_path"].tolist(), processes=workers.processes, title="films", unit="image"
    )
    images = np.zeros((len(studies), JUDGE_SIZE, JUDGE_SIZE), np.uint8)
    reasons: Counter[str] = Counter()
    good = np.ones(len(studies), bool)
    for place, image in enumerate(read):
        if isinstance(image, str):
            reasons[image] += 1
            good[place] = False
        else:
            images[place] = image
    films = _films(studies, images)
    splits = {split: films.rows((studies["split"] == split).to_numpy() & good) for split in SPLITS}
    for split in ("train", "validate"):
        if not len(splits[split]):
            raise TableError(
                f"{Path(work) / STUDIES_FILE} must hold readable films of the split {split}",
                found=f"{len(studies)} studies, of which unreadable: {dict(reasons)}",
                action="Run `biomedjourney cohort` with more patients",
            )
    return splits, dict(reasons)


def _read(path: str) -> np.ndarray | str:
    """One image as uint8, shape (128, 128), or the reason why not."""
    try:
        return np.round(load_radiograph(path, size=JUDGE_SIZE) * 255).astype(np.uint8)
    except ImageError as error:
        return error.reason


def _films(studies: pandas.DataFrame, images: np.ndarray) -> Films:
    stated = studies[list(CHEXPERT_LABELS)].to_numpy(np.float64)
    labels = np.where((stated == 1).any(axis=0), apply_label_policy(stated), np.nan)
    groups = [race_group(race) for race in studies["race"]]
    age = studies["age_at_study"].fillna(studies["anchor_age"])
    return Films(
        images,
        labels.astype(np.float32),
        male_sex(studies["sex"]).astype(np.float32),
        np.array([np.nan if group is None else group for group in groups], np.float32),
        age.to_numpy(np.float32),
    )
