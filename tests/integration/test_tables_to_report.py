"""From tables to the report at toy size: the verbs of `biomedjourney demo`, training left out."""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

from biomedjourney_monai import schema
from biomedjourney_monai.cli.demo import stages
from biomedjourney_monai.cli.main import main
from biomedjourney_monai.configuration import compose
from biomedjourney_monai.files import read_json_lines

BUNDLE = Path(__file__).parents[2] / "bundle"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The shipped weights, or random ones where there are none."""
    shipped = BUNDLE / "models" / "model.pt"
    if shipped.is_file():
        return shipped
    path = tmp_path_factory.mktemp("models") / "model.pt"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parser = compose(BUNDLE / "configs" / "common.yaml", {"bundle_root": str(BUNDLE)})
        parser.get_parsed_content("generator").save(path, info={})
    return path


def _lines(work, model):
    """Each verb as a user types it."""
    cohort = work / "cohort"
    weights = ["--bundle", BUNDLE, "--model", model]
    return [
        ["phantom", "--out", cohort, "--patients", 16, "--seed", 7, "--size", 128, "--processes", 1],
        ["cohort", "--source", cohort, "--work", work],
        ["journeys", "--work", work],
        ["register", "--work", work, "--processes", 1],
        ["describe", "--work", work, "--seed", 7],
        ["encode", "--work", work, *weights],
        ["sample", "--work", work, *weights, "--steps", 2, "--seed", 7],
        ["evaluate", "--work", work, "--models", BUNDLE / "models", "--bootstrap", 20],
        ["report", "--work", work],
    ]


@pytest.fixture(scope="module")
def work(tmp_path_factory, model):
    """The working folder after all verbs."""
    folder = tmp_path_factory.mktemp("work")
    for line in _lines(folder, model):
        assert main([str(word) for word in line]) == 0, line[0]
    return folder


def test_the_demo_runs_the_same_verbs(tmp_path, model):
    arguments = argparse.Namespace(work=tmp_path, patients=16, seed=7, training_steps=1, bundle=str(BUNDLE))
    verbs = [line[0] for line in stages(arguments)]
    assert [verb for verb in verbs if verb != "train"] == [line[0] for line in _lines(tmp_path, model)]


def test_every_stage_leaves_its_file(work):
    files = (
        schema.STUDIES_FILE,
        schema.JOURNEYS_FILE,
        schema.PAIRS_FILE,
        schema.TRIPLES_FILE,
        schema.SINGLES_FILE,
        f"{schema.LATENTS_FOLDER}/encoding.json",
        f"{schema.SAMPLES_FOLDER}/samples.jsonl",
        f"{schema.SAMPLES_FOLDER}/counterfactuals.npy",
        schema.METRICS_FILE,
        f"{schema.REPORT_FOLDER}/index.html",
    )
    assert [file for file in files if not (work / file).is_file()] == []


def test_tables_have_the_columns_of_the_schema(work):
    for file, columns in (
        (schema.STUDIES_FILE, schema.STUDY_COLUMNS),
        (schema.JOURNEYS_FILE, schema.JOURNEY_COLUMNS),
        (schema.PAIRS_FILE, schema.PAIR_COLUMNS),
    ):
        assert set(columns) <= set(pandas.read_parquet(work / file).columns), file


def test_no_journey_is_lost_on_the_way(work):
    pairs = pandas.read_parquet(work / schema.PAIRS_FILE)
    kept = pairs[pairs["kept"]]
    assert len(pairs) == len(pandas.read_parquet(work / schema.JOURNEYS_FILE))
    assert (pairs["drop_reason"] != "")[~pairs["kept"]].all()
    triples = read_json_lines(work / schema.TRIPLES_FILE, made_by="describe")
    samples = read_json_lines(work / schema.SAMPLES_FOLDER / "samples.jsonl", made_by="sample")
    tested = {row["journey_id"] for row in triples if row["split"] == "test"}
    assert {row["journey_id"] for row in triples} <= set(kept["journey_id"])
    assert {row["journey_id"] for row in samples} == tested
    assert json.loads((work / schema.METRICS_FILE).read_text())["counts"]["scored"] == len(tested) > 0


def test_no_patient_is_in_two_splits(work):
    pairs = pandas.read_parquet(work / schema.PAIRS_FILE)
    assert pairs.groupby("subject_id")["split"].nunique().max() == 1


def test_counterfactuals_are_pictures_of_the_models_size(work):
    samples = read_json_lines(work / schema.SAMPLES_FOLDER / "samples.jsonl", made_by="sample")
    pixels = np.load(work / schema.SAMPLES_FOLDER / "counterfactuals.npy")
    assert pixels.shape == (len(samples), 128, 128)
    assert np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1
    for row in samples:
        with Image.open(work / row["file"]) as image:
            assert image.size == (128, 128)


def test_the_baselines_score_what_they_must(work):
    content = json.loads((work / schema.METRICS_FILE).read_text())
    systems = {system["name"]: system["metrics"] for system in content["systems"]}
    assert set(systems) == {"copy-prior", "counterfactual", "real reference"}
    assert systems["copy-prior"]["dice_prior"]["overall"]["value"] == pytest.approx(1)
    assert systems["real reference"]["kl"]["overall"]["value"] == pytest.approx(0, abs=1e-9)
    assert systems["counterfactual"]["kl"]["overall"]["value"] > 0


def test_the_page_is_self_contained(work):
    page = (work / schema.REPORT_FOLDER / "index.html").read_text()
    assert "data:image/png;base64," in page or "data:image/jpeg;base64," in page or "<svg" in page
    assert re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)([^"']+)""", page) == []
    assert re.findall(r"url\((?!['\"]?data:)[^)]*\)|@import", page) == []
    assert "<script src" not in page


def test_no_identifier_of_a_patient_is_on_the_page(work):
    page = (work / schema.REPORT_FOLDER / "index.html").read_text()
    page = re.sub(r"data:[^\"')]+", "", page)
    studies = pandas.read_parquet(work / schema.STUDIES_FILE)
    found = [column for column in ("subject_id", "study_id", "dicom_id") if any(i in page for i in studies[column])]
    assert found == []
