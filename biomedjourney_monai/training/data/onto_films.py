"""Rendered findings on the films of a working folder: a new working folder of journeys with a known truth.

Each film is outlined, and journeys are drawn for it in which a finding appears, resolves, changes or stays. The film
itself is the state without rendered findings, so prior, description and new image differ in nothing else.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch

from biomedjourney_monai import __version__
from biomedjourney_monai.errors import ConfigError, ImageError, TableError
from biomedjourney_monai.evaluation.judges.lung_outlines import LungOutlines, load_lung_outlines
from biomedjourney_monai.files import read_json, read_table, write_json, write_json_lines, write_table
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.onto import FilmChest, OntoCase, add_findings, draw_case, place_chest
from biomedjourney_monai.phantom.seeds import derive_rng, derive_seed
from biomedjourney_monai.preparation.descriptions.progression import write_progression, write_summary
from biomedjourney_monai.preparation.item_record import Item, ItemRecord, Outcome, content_hash, key_of
from biomedjourney_monai.preparation.parallel import Workers
from biomedjourney_monai.preparation.reports.states import State, StudyState, read_state
from biomedjourney_monai.radiographs import load_radiograph, read_png, save_png
from biomedjourney_monai.schema import (
    CHEXPERT_LABELS,
    FINDINGS,
    IMAGES_FOLDER,
    PAIR_COLUMNS,
    PAIRS_FILE,
    SINGLES_FILE,
    STUDIES_FILE,
    STUDY_COLUMNS,
    TRIPLES_FILE,
)

ONTO_FILE = "onto.json"
RECORD_FILE = "onto_films.jsonl"
WHOLE_FILE = f"{IMAGES_FOLDER}/whole.png"
SHORT_SHARE = 0.6
"""Of the descriptions, which leave out what is unchanged and what is denied."""

FIELD_SHARES = (0.04, 0.40)
"""Least and largest plausible share of a lung field in the image."""


@dataclass(frozen=True)
class OntoWritten:
    """What `write_onto` wrote: the folder, the films used, their journeys, and the films left out by reason."""

    folder: Path
    films: int
    journeys: int
    left_out: dict[str, int]


def write_onto(
    work: str | Path,
    out: str | Path,
    *,
    films: int | None = None,
    cases: int = 3,
    seed: int = 0,
    size: int = 128,
    weights: str | Path | None = None,
    processes: int | None = 1,
) -> OntoWritten:
    """Write a working folder of journeys whose findings are rendered on the films of another one.

    Writes images/, triples.jsonl, singles.jsonl, pairs.parquet, studies.parquet and onto.json. A stopped run resumes.

    Args:
        work: working folder with studies.parquet.
        out: the new working folder.
        films: to use, at random; None for all that qualify. Films without any finding are taken first.
        cases: journeys per film.
        seed: of films, journeys and wording.
        size: rows and columns of the images.
        weights: folder of the weights of the outlines; None for the bundle's.
        processes: that work at once; None for all cores.

    Raises:
        ConfigError: if a number is too small, or the new folder is another's.
        TableError: if no film qualifies.
    """
    if cases < 1 or (films is not None and films < 1):
        raise ConfigError("films and cases must be >= 1", found=f"{films} and {cases}")
    work, out = Path(work), Path(out)
    studies = read_table(work / STUDIES_FILE, columns=STUDY_COLUMNS, made_by="cohort")
    chosen = choose_films(studies, films, seed)
    outlines = load_lung_outlines(weights)
    settings = {"films": films, "cases": cases, "seed": seed, "size": size, "outlines": outlines.weights_hash}
    _open_folder(work, out, {**settings, "version": __version__})
    save_png(out / WHOLE_FILE, np.full((size, size), 255, np.uint8))
    items = [
        Item(f"f{number:06d}", key_of(settings, study["dicom_id"], study["image_path"]), (f"f{number:06d}", study))
        for number, study in enumerate(chosen)
    ]
    draw = partial(_draw_film, work=work, out=out, settings=settings, weights=weights)
    done = ItemRecord(out / RECORD_FILE, out).complete_in_processes(
        items, draw, on_death=_died, title="onto", unit="film", workers=Workers.of(processes)
    )
    results = [(study, name, done[name].result) for name, study in (item.payload for item in items)]
    left_out = Counter(result["left_out"] for *_, result in results if result["left_out"])
    used = [(study, name, result["cases"]) for study, name, result in results if not result["left_out"]]
    if not used:
        raise TableError("some films must qualify", found=f"none; left out: {dict(left_out)}")
    journeys = _write_tables(out, used, seed)
    write_json(out / ONTO_FILE, {**settings, "version": __version__, "used": len(used), "left_out": left_out})
    return OntoWritten(out, len(used), journeys, dict(left_out))


def choose_films(studies: pd.DataFrame, films: int | None, seed: int) -> list[dict[str, Any]]:
    """Draw rows of studies.parquet that lack at least one finding for certain; those without any finding first.

    Raises:
        TableError: if there is none.
    """
    rows = [dict(zip(studies.columns, row)) for row in studies.itertuples(index=False, name=None)]
    rows = [row for row in rows if free_findings(row)]
    order = derive_rng(seed, "onto", "films").permutation(len(rows))
    ranked = sorted((rows[place] for place in order), key=lambda row: row["No Finding"] != 1)
    if not ranked:
        raise TableError("some films must be labelled as free of a finding", found="none in studies.parquet")
    return ranked[:films]


def free_findings(study: Mapping[str, Any]) -> tuple[str, ...]:
    """The findings that a film does not show, by its labels."""
    if study["No Finding"] == 1:
        return FINDINGS
    return tuple(name for name in FINDINGS if study[name] == 0)


def _open_folder(work: Path, out: Path, settings: dict[str, Any]) -> None:
    if out.resolve() == work.resolve():
        raise ConfigError("--out must be another folder than --onto", found="the same folder")
    if (out / ONTO_FILE).is_file():
        known = read_json(out / ONTO_FILE, made_by="phantom --onto")
        different = [name for name in settings if known.get(name) != settings[name]]
        if different:
            raise ConfigError(
                "a folder of `phantom --onto` keeps its settings", found=f"other {', '.join(different)}",
                action="Choose a new --out",
            )  # fmt: skip
        return
    if out.is_dir() and any(out.iterdir()):
        raise ConfigError("--out must be a new folder", found="a folder with other contents")
    write_json(out / ONTO_FILE, settings)


@lru_cache(maxsize=1)
def _outlines(weights: str | Path | None) -> LungOutlines:
    torch.set_num_threads(1)
    return load_lung_outlines(weights)


def _draw_film(
    payload: tuple[str, dict[str, Any]], *, work: Path, out: Path, settings: Mapping[str, Any], weights: Any
) -> Outcome:
    """Outline one film, draw its journeys, and render each state that occurs in them once."""
    name, study = payload
    try:
        film, chest = place_film(
            work, study, _outlines(weights), size=settings["size"], seed=derive_seed(settings["seed"], "onto", name)
        )
    except ImageError as error:
        return _left_out(error.reason)
    rng = derive_rng(settings["seed"], "onto", "cases", name)
    cases = [draw_case(rng, free_findings(study)) for _ in range(settings["cases"])]
    states = list(dict.fromkeys([FindingState(), *(state for case in cases for state in (case.prior, case.new))]))
    files = {}
    for number, state in enumerate(states):
        file = f"{IMAGES_FOLDER}/{name}-{number}.png"
        save_png(out / file, film if state == FindingState() else add_findings(film, chest, state))
        files[file] = content_hash(out / file)
    rows = [
        {**asdict(case), "prior_number": states.index(case.prior), "new_number": states.index(case.new)}
        for case in cases
    ]
    return Outcome({"left_out": "", "cases": rows}, files)


def place_film(
    work: Path, study: Mapping[str, Any], outlines: LungOutlines, *, size: int, seed: int
) -> tuple[np.ndarray, FilmChest]:
    """Read a film, outline it, and place the renderer's chest on it.

    Args:
        work: working folder whose images/ may hold the film.
        study: row of studies.parquet.
        size: rows and columns.
        seed: of what a finding leaves to chance.

    Returns:
        The film, float32 in [0, 1], shape (S, S), and its chest.

    Raises:
        ImageError: if the film cannot be read or its lungs cannot be outlined.
    """
    film = _read_film(work, study, size)
    found = outlines.outline(torch.from_numpy(film)[None, None])[0]
    if not _plausible(found):
        raise ImageError("both lungs must be outlined", found="another shape", reason="lungs not outlined")
    age = study["age_at_study"]
    return film, place_chest(film, found, seed=seed, age=60.0 if np.isnan(age) else age)


def _read_film(work: Path, study: Mapping[str, Any], size: int) -> np.ndarray:
    """The film as `register` wrote it, or from its file, float32 in [0, 1], shape (S, S)."""
    prepared = work / IMAGES_FOLDER / f"{study['dicom_id']}.png"
    if prepared.is_file():
        film = read_png(prepared)
        if film.shape == (size, size):
            return film
    return load_radiograph(study["image_path"], size=size)


def _plausible(outlines: np.ndarray) -> bool:
    """Whether both lung fields have a usual size, and lie side by side."""
    left, right = outlines[:2]
    shares = left.mean(), right.mean()
    if not all(FIELD_SHARES[0] <= share <= FIELD_SHARES[1] for share in shares) or max(shares) > 2.2 * min(shares):
        return False
    centres = [cv2.moments(side.astype(np.uint8), binaryImage=True) for side in (left, right)]
    (left_x, left_y), (right_x, right_y) = ((m["m10"] / m["m00"], m["m01"] / m["m00"]) for m in centres)
    return bool(left_x - right_x > 0.2 * len(left) and abs(left_y - right_y) < 0.15 * len(left))


def _left_out(reason: str) -> Outcome:
    return Outcome({"left_out": reason, "cases": []})


def _died(payload: tuple[str, dict[str, Any]]) -> Outcome:
    return _left_out("image reader crashed")


def _write_tables(out: Path, used: list[tuple[dict[str, Any], str, list[dict[str, Any]]]], seed: int) -> int:
    triples: list[dict[str, Any]] = []
    singles: dict[str, dict[str, Any]] = {}
    pairs: list[dict[str, Any]] = []
    studies: dict[str, dict[str, Any]] = {}
    for study, name, cases in used:
        for number, case in enumerate(_read_case(row) for row in cases):
            rng = derive_rng(seed, "onto", "words", name, number)
            sides = [_picture(study, name, cases[number][f"{time}_number"], getattr(case, time)) for time in TIMES]
            for row, _ in sides:
                studies[row["dicom_id"]] = {**row, "image_path": str((out / _file(row)).resolve())}
            pair = _pair(f"j{len(triples):06d}", study, [row for row, _ in sides], rng)
            states = [state for _, state in sides]
            summaries = [write_summary(state, rng=rng) for state in states]
            for (row, _), summary in zip(sides, summaries):
                copied = {key: row[key] for key in ("subject_id", "study_id", "dicom_id", "split")}
                single = {**copied, "image": _file(row), "impression": summary, "source": "rendered"}
                singles.setdefault(row["dicom_id"], single)
            text = write_progression(*states, rng=rng, only_changes=bool(rng.random() < SHORT_SHARE))
            triples.append(_triple(pair, summaries, text, case))
            pairs.append(pair)
    write_table(out / STUDIES_FILE, pd.DataFrame(studies.values())[list(STUDY_COLUMNS)])
    write_table(out / PAIRS_FILE, pd.DataFrame(pairs)[list(PAIR_COLUMNS)])
    write_json_lines(out / SINGLES_FILE, singles.values())
    write_json_lines(out / TRIPLES_FILE, triples)
    return len(triples)


TIMES = ("prior", "new")


def _read_case(row: Mapping[str, Any]) -> OntoCase:
    return OntoCase(row["kind"], row["finding"], FindingState(**row["prior"]), FindingState(**row["new"]))


def _file(row: Mapping[str, Any]) -> str:
    return f"{IMAGES_FOLDER}/{row['dicom_id']}.png"


def _picture(
    study: Mapping[str, Any], name: str, number: int, rendered: FindingState
) -> tuple[dict[str, Any], StudyState]:
    """The row of one picture in studies.parquet, and what it shows: the film's labels and what is rendered."""
    labels = {label: study[label] for label in CHEXPERT_LABELS}
    shown = {finding: _state(finding, rendered) for finding in FINDINGS if rendered.severity(finding)}
    film = read_state(labels, "")
    state = replace(
        film,
        findings={**film.findings, **shown},
        denied=tuple(finding for finding in film.denied if finding not in shown),
    )
    changed = {finding: np.float32(1) for finding in shown} | ({"No Finding": np.float32(0)} if shown else {})
    ids = {"dicom_id": f"{name}-{number}", "study_id": f"{name}-{number}"}
    return {**study, **changed, **ids, "report_path": ""}, state


def _state(finding: str, rendered: FindingState) -> State:
    if finding in ("Cardiomegaly", "Edema"):
        return State({"": rendered.severity(finding)})
    sides = {side: rendered.severity(finding, side) for side in ("left", "right")}
    return State({side: severity for side, severity in sides.items() if severity})


def _pair(
    journey_id: str, study: Mapping[str, Any], sides: list[dict[str, Any]], rng: np.random.Generator
) -> dict[str, Any]:
    prior, new = sides
    row: dict[str, Any] = {name: study[name] for name in ("subject_id", "split", "sex", "anchor_age", "race")}
    row |= {"journey_id": journey_id, "days_between": float(rng.integers(1, 31)), "valid_mask": WHOLE_FILE}
    for time, side in zip(TIMES, (prior, new)):
        row |= {f"{time}_{key}": side[key] for key in ("study_id", "dicom_id", "report_path", *CHEXPERT_LABELS)}
        row |= {f"{time}_image": _file(side), f"{time}_image_path": study["image_path"]}
        row[f"{time}_age"] = study["age_at_study"]
    row |= {"transform_file": "", "gradient_correlation": 1.0, "scale": 1.0, "rotation_degrees": 0.0}
    row |= {"shift_x_px": 0.0, "shift_y_px": 0.0, "overlap": 1.0, "mirrored_correlation": np.nan}
    return {**row, "kept": True, "drop_reason": ""}


def _triple(pair: Mapping[str, Any], summaries: list[str], text: str, case: OntoCase) -> dict[str, Any]:
    copied: tuple[str, ...] = (
        "journey_id",
        "split",
        "days_between",
        "subject_id",
        "prior_study_id",
        "new_study_id",
        "prior_dicom_id",
    )
    copied += ("new_dicom_id", "prior_image", "new_image", "valid_mask")
    return {
        **{name: pair[name] for name in copied},
        "prior_impression": summaries[0],
        "new_impression": summaries[1],
        "progression_description": text,
        "source": "rendered",
        "written_by": "rules",
        "kind": case.kind,
        "finding": case.finding,
        "prior_rendered": case.prior.as_dict(),
        "new_rendered": case.new.as_dict(),
    }
