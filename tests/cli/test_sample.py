import errno
import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.networks.weights.model_file import load_tensors, save_tensors, weights_hash
from biomedjourney_monai.radiographs import NOT_FOR_DIAGNOSIS, mark_synthetic, read_png
from biomedjourney_monai.radiographs.read.pixels import read_pixels

TEXT = "New large left pleural effusion."


@pytest.fixture
def sample_one(bundle, random_model, chest, tmp_path):
    def sample(*more, prior=chest, out="out/made.png", description=TEXT):
        line = ["sample", "--prior", str(prior), "--description", description, "--out", str(tmp_path / out)]
        return main([*line, "--bundle", str(bundle), "--model", str(random_model), "--steps", "2", *more])

    return sample


def test_one_image_becomes_a_marked_counterfactual_of_its_own_size(sample_one, random_model, tmp_path, capsys):
    assert sample_one("--seed", "5") == 0
    assert "150×180, generated at 128×128" in capsys.readouterr().out
    with Image.open(tmp_path / "out" / "made.png") as image:
        assert (image.mode, image.size) == ("L", (150, 180))
        text = image.text
    assert text["Comment"] == NOT_FOR_DIAGNOSIS
    assert text["progression_description"] == TEXT
    assert (text["seed"], text["steps"]) == ("5", "2")
    assert text["model"] == weights_hash(random_model)
    assert float(text["text_guidance_scale"]) > 0


def test_the_label_is_in_the_pixels(sample_one, tmp_path):
    sample_one()
    made = read_png(tmp_path / "out" / "made.png")
    on_black, on_white = (mark_synthetic(np.full((180, 150), ground, np.float32)) for ground in (0, 1))
    label = on_black == on_white
    assert label.sum() > 200
    assert np.abs(made[label] - on_black[label]).max() < 1 / 255
    assert made[label].max() > 0.9


def test_the_same_seed_gives_the_same_bytes_and_another_another(sample_one, tmp_path):
    for out, seed in (("a.png", "1"), ("b.png", "1"), ("c.png", "2")):
        assert sample_one("--seed", seed, "--detail", "none", out=out) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert not np.array_equal(read_png(tmp_path / "a.png"), read_png(tmp_path / "c.png"))


@pytest.mark.parametrize("name", ["made.nii.gz", "MADE.NII"])
def test_a_counterfactual_is_written_as_nifti_with_its_samples(sample_one, tmp_path, name):
    assert sample_one("--samples", "2", "--detail", "none", "--keep-unchanged", "0", out=name) == 0
    stem, suffix = name.split(".", 1)
    first, second = (read_pixels(tmp_path / file) for file in (name, f"{stem}-02.{suffix}"))
    assert first.shape == second.shape == (180, 150) and not np.array_equal(first, second)
    assert (tmp_path / f"{stem}-mean.png").is_file()


def test_the_description_decides(sample_one, tmp_path):
    sample_one("--detail", "none", out="a.png")
    sample_one("--detail", "none", out="b.png", description="No acute cardiopulmonary process.")
    assert not np.array_equal(read_png(tmp_path / "a.png"), read_png(tmp_path / "b.png"))


CONTENTS = {
    "missing": None,
    "empty": b"",
    "corrupt": b"\x89PNG\r\n\x1a\n not a picture",
    "text": b"hello",
    "cut jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF",
}


@pytest.mark.parametrize("name", CONTENTS)
def test_an_unreadable_image_is_one_line_and_leaves_nothing(sample_one, tmp_path, capsys, name):
    prior = tmp_path / "Smith_John.png"
    if CONTENTS[name] is not None:
        prior.write_bytes(CONTENTS[name])
    assert_refused(sample_one(prior=prior), capsys, "an image")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shape", [(40, 40), (300, 2)])
def test_an_image_too_small_for_the_label_is_refused(sample_one, tmp_path, capsys, shape):
    pixels = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "small.png")
    assert_refused(sample_one("--force", prior=tmp_path / "small.png"), capsys, "at least 96")
    assert not (tmp_path / "out").exists()


def test_a_constant_image_is_refused(sample_one, tmp_path, capsys):
    Image.new("L", (200, 200), 7).save(tmp_path / "flat.png")
    assert_refused(sample_one(prior=tmp_path / "flat.png"), capsys, "contrast")


def assert_refused(status, capsys, message):
    assert status == 2
    error = capsys.readouterr().err.splitlines()
    assert [line for line in error if message in line] == error[-1:]
    assert error[-1].startswith("error: ")
    assert "Smith" not in error[-1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--steps", "0"], "--steps must be in [1, 1000]"),
        (["--steps", "1001"], "--steps must be in [1, 1000]"),
        (["--seed", "-1"], "--seed must be"),
        (["--text-guidance-scale", "nan"], "--text-guidance-scale must be a finite number"),
        (["--image-guidance-scale", "inf"], "--image-guidance-scale must be a finite number"),
        (["--work", "work"], "one image, one working folder or one list"),
        (["--out", "made.jpg"], "--out must be a PNG"),
        (["--out", ""], "a file to write"),
        (["--description", "  "], "empty_description"),
        (["--guidance-interval", "0.8", "0.2"], "--guidance-interval must be two rising numbers"),
        (["--model", "nowhere.pt"], "nowhere.pt must exist"),
        (["--bundle", "nowhere"], "nowhere must be a bundle folder"),
        (["--batch-size", "0"], "--batch-size must be >= 1"),
        (["--limit", "0"], "--limit must be >= 1"),
        (["--samples", "0"], "--samples must be >= 1"),
        (["--strength", "0"], "--strength must be in (0, 1]"),
        (["--region", "nowhere.png"], "must exist"),
        (["--description", "and so on " * 60], "description_too_long"),
        (["--solver", "unipc", "--strength", "0.5"], "ddim"),
    ],
)
def test_wrong_arguments_are_one_line(sample_one, tmp_path, capsys, more, message):
    assert_refused(sample_one(*more), capsys, message)
    assert not (tmp_path / "out").exists()


def test_without_an_image_or_a_folder_both_ways_are_shown(capsys):
    assert main(["sample"]) == 2
    assert "--prior IMAGE --description TEXT --out FILE, or --work DIR, or --csv FILE" in capsys.readouterr().err


def test_an_output_that_is_a_folder_is_one_line(sample_one, tmp_path, capsys):
    (tmp_path / "out" / "made.png").mkdir(parents=True)
    assert sample_one() == 2
    assert "found a folder of that name" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["made.png"]


@pytest.fixture
def sample_work(bundle, random_model, prepared):
    def sample(*more):
        line = ["sample", "--work", str(prepared), "--bundle", str(bundle), "--model", str(random_model)]
        return main([*line, "--steps", "2", *more])

    return sample


def read_rows(work):
    return [json.loads(line) for line in (work / "samples" / "samples.jsonl").read_text().splitlines()]


def test_all_journeys_of_a_split_are_sampled(sample_work, prepared):
    assert sample_work("--seed", "9") == 0
    rows = read_rows(prepared)
    assert [row["journey_id"] for row in rows] == ["j000001", "j000002"]
    assert [row["seed"] for row in rows] == [9, 10]
    pixels = np.load(prepared / "samples" / "counterfactuals.npy")
    assert pixels.shape == (2, 128, 128)
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    for row in rows:
        picture = read_png(prepared / row["file"])
        expected = mark_synthetic(pixels[row["index"]].astype(np.float32))
        assert np.abs(picture - expected).max() < 0.01
        with Image.open(prepared / row["file"]) as image:
            assert image.text["Comment"] == NOT_FOR_DIAGNOSIS


def test_the_batch_size_changes_no_sample(sample_work, prepared):
    sample_work()
    together = np.load(prepared / "samples" / "counterfactuals.npy")
    sample_work("--batch-size", "1")
    assert np.abs(together - np.load(prepared / "samples" / "counterfactuals.npy")).max() < 5e-3  # float16


def test_a_limit_takes_the_first_journeys(sample_work, prepared):
    assert sample_work("--limit", "1") == 0
    assert [row["journey_id"] for row in read_rows(prepared)] == ["j000001"]


def test_a_split_without_journeys_is_one_line(sample_work, prepared, capsys):
    assert_refused(sample_work("--split", "validate"), capsys, "journeys of split validate")
    assert not (prepared / "samples").exists()


@pytest.mark.parametrize("content", [None, "", "{", '{"split": "test"}\n'])
def test_a_broken_table_is_one_line(sample_work, prepared, capsys, content):
    (prepared / "triples.jsonl").unlink()
    if content is not None:
        (prepared / "triples.jsonl").write_text(content)
    assert_refused(sample_work(), capsys, "triples.jsonl must")


@pytest.mark.parametrize("change", ["missing", "corrupt", "wrong size"])
def test_a_broken_prepared_image_is_one_line(sample_work, prepared, capsys, change):
    path = prepared / "images" / "1.png"
    path.unlink()
    if change == "corrupt":
        path.write_bytes(b"\x89PNG")
    if change == "wrong size":
        Image.new("L", (64, 64)).save(path)
    assert_refused(sample_work(), capsys, "biomedjourney register")
    assert not (prepared / "samples").exists()


def test_an_interrupted_run_goes_on_and_gives_the_same(sample_work, prepared, monkeypatch):
    from biomedjourney_monai.generation.model import CounterfactualModel

    sample_work("--batch-size", "1")
    expected = np.load(prepared / "samples" / "counterfactuals.npy")
    original, calls = CounterfactualModel.draw, []

    def interrupted(*args, **more):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(1)
        return original(*args, **more)

    monkeypatch.setattr(CounterfactualModel, "draw", interrupted)
    assert sample_work("--batch-size", "1") == 130
    monkeypatch.setattr(CounterfactualModel, "draw", lambda *args, **more: calls.append(1) or original(*args, **more))
    assert sample_work("--batch-size", "1") == 0
    assert len(calls) == 2  # one before the interrupt, one after
    np.testing.assert_array_equal(np.load(prepared / "samples" / "counterfactuals.npy"), expected)
    assert not (prepared / "samples" / ".unfinished").exists()


def test_pictures_of_an_earlier_larger_run_do_not_stay(sample_work, prepared):
    sample_work()
    sample_work("--limit", "1")
    assert [path.name for path in (prepared / "samples").glob("*.png")] == ["j000001.png"]


def test_several_samples_come_with_mean_sigma_and_agreement(sample_one, tmp_path):
    assert sample_one("--samples", "3", "--region", "auto") == 0
    out = tmp_path / "out"
    names = {"made", "made-02", "made-03", "made-mean", "made-sigma", "made-region"}
    assert {path.stem for path in out.glob("*.png")} == names
    for path in out.glob("*.png"):
        with Image.open(path) as image:
            assert image.text["Comment"] == NOT_FOR_DIAGNOSIS
            assert image.text["region"] == "auto"
    content = json.loads((out / "made-samples.json").read_text())
    assert (content["judges"] == {}) == (content["findings"] == {})
    assert content["samples"] == 3 and content["seed"] == "0-2"
    assert all(0.5 <= numbers["agreement"] <= 1 for numbers in content["findings"].values())


def test_without_judges_that_know_the_prior_no_finding_is_counted(sample_one, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("biomedjourney_monai.evaluation.judges.domain.judge_for", lambda judges, image: None)
    assert sample_one("--samples", "2") == 0
    content = json.loads((tmp_path / "out" / "made-samples.json").read_text())
    assert content["findings"] == {} and content["judges"] == {}
    assert "no judges were trained on films like this prior" in capsys.readouterr().err


def test_nothing_changes_outside_a_mask(sample_one, tmp_path, chest):
    mask = np.zeros((180, 150), np.uint8)
    mask[60:150, 80:140] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert sample_one("--region", str(tmp_path / "mask.png"), "--keep-unchanged", "0") == 0
    change = np.abs(read_png(tmp_path / "out" / "made.png") - read_png(chest))
    assert not change[160:].any() and not change[40:, :70].any(), "the very pixels"
    assert change[70:140, 90:130].mean() > 0.02


def test_a_refused_prior_is_made_by_force_and_says_so(sample_one, tmp_path, capsys, chest):
    with Image.open(chest) as image:
        image.point(lambda value: 255 - value).save(tmp_path / "inverted.png")
    assert_refused(sample_one(prior=tmp_path / "inverted.png"), capsys, "inverted")
    assert sample_one("--force", prior=tmp_path / "inverted.png") == 0
    with Image.open(tmp_path / "out" / "made.png") as image:
        assert image.text["overruled"] == "inverted"


def test_weights_of_another_resolution_are_refused_by_what_they_say_themselves(
    sample_one, random_model, tmp_path, capsys
):
    state, info = load_tensors(random_model)
    save_tensors(tmp_path / "other.pt", state, info={**info, "image_size": 64})
    other = ["--model", str(tmp_path / "other.pt")]
    assert_refused(sample_one(*other), capsys, "128 instead of 64 pixels (wrong_resolution)")
    assert sample_one(*other, "--force") == 0
    with Image.open(tmp_path / "out" / "made.png") as image:
        assert "wrong_resolution" in image.text["overruled"]


def test_a_counterfactual_of_a_counterfactual_is_made_by_force_alone(sample_one, tmp_path, capsys):
    assert sample_one() == 0
    capsys.readouterr()
    made = tmp_path / "out" / "made.png"
    assert_refused(sample_one(prior=made, out="again.png"), capsys, "(counterfactual)")
    assert not (tmp_path / "again.png").exists()
    assert sample_one("--force", prior=made, out="again.png") == 0
    with Image.open(tmp_path / "again.png") as image:
        assert "counterfactual" in image.text["overruled"]


@pytest.fixture
def sample_csv(bundle, random_model, tmp_path, chest):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    lines = ["prior,description,out,seed", f"chest.png,{TEXT},o/a.png,5", f"bad.png,{TEXT},o/b.png,"]
    lines += [
        "chest.png,,o/c.png,",
        "chest.png,Edema.,o/d.nii.gz,",
        "chest.png,Edema.,o/a.png,",
        "chest.png,Edema.,o/e.png,x",
    ]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")

    def sample(*more):
        line = ["sample", "--csv", str(tmp_path / "list.csv"), "--bundle", str(bundle), "--model", str(random_model)]
        return main([*line, "--steps", "2", *more])

    return sample


def test_a_list_makes_what_it_can_counts_the_rest_and_goes_on(sample_csv, sample_one, tmp_path, capsys):
    assert sample_csv() == 0
    said = capsys.readouterr().out
    assert "2 made, 0 kept, 4 refused" in said
    assert re.search(r"^\d+\.\d\d images/s$", said, re.MULTILINE)
    assert "1 empty_description" in said
    outcomes = (tmp_path / "list.results.csv").read_text().splitlines()
    assert outcomes[0] == "row,outcome,warnings"
    assert [line.split(",")[1] for line in outcomes[1::]].count("made") == 2
    sample_one("--seed", "5", out="o/alone.png")
    assert np.abs(read_png(tmp_path / "o" / "a.png") - read_png(tmp_path / "o" / "alone.png")).max() <= 1 / 255
    (tmp_path / "o" / "d.nii.gz").unlink()
    assert sample_csv() == 0
    assert "1 made, 1 kept, 4 refused" in capsys.readouterr().out
    assert sample_csv("--steps", "1") == 0
    assert "2 made, 0 kept" in capsys.readouterr().out
    assert sample_csv("--steps", "1") == 0
    said = capsys.readouterr().out
    assert "0 made, 2 kept" in said and "images/s" not in said


def test_a_list_without_a_usable_row_is_an_error(sample_csv, tmp_path, capsys):
    (tmp_path / "list.csv").write_text("prior,description,out\nnowhere.png,Edema.,a.png\n")
    assert sample_csv() == 2
    assert "a row of the list must be usable" in capsys.readouterr().err


def test_the_solvers_on_offer_are_those_there_are():
    from biomedjourney_monai.cli.arguments import INIT_NOISE, PRECISIONS, SOLVERS
    from biomedjourney_monai.diffusion import settings
    from biomedjourney_monai.networks import fast_path

    assert (SOLVERS, INIT_NOISE) == (settings.SOLVERS, settings.INIT_NOISE)
    assert set(PRECISIONS) == {"auto", *fast_path.PRECISIONS}


@pytest.mark.parametrize("more", [[], ["--samples", "2"]])
def test_the_prior_is_never_overwritten(sample_one, tmp_path, chest, capsys, more):
    name = "made-02.png" if more else "made.png"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(chest.read_bytes())
    assert sample_one(*more, prior=tmp_path / "out" / name) == 2
    assert "found the prior" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    assert (tmp_path / "out" / name).read_bytes() == chest.read_bytes()


def test_a_mask_is_not_overwritten_by_the_picture_of_the_region(sample_one, tmp_path, chest, capsys):
    (tmp_path / "out").mkdir()
    mask = tmp_path / "out" / "made-region.png"
    mask.write_bytes(chest.read_bytes())
    assert sample_one("--region", str(mask)) == 2
    assert "found the mask" in capsys.readouterr().err
    assert mask.read_bytes() == chest.read_bytes()


def test_rows_write_neither_over_inputs_nor_outside_the_folder(sample_csv, tmp_path, chest, capsys):
    (tmp_path / "in").mkdir()
    for name in ("chest.png", "other.png"):
        (tmp_path / "in" / name).write_bytes(chest.read_bytes())
    rows = [("chest.png", "chest.png"), ("chest.png", "other.png"), ("other.png", "../a.png"), ("other.png", "b.png")]
    lines = ["prior,description,out", *(f"{prior},{TEXT},{out}" for prior, out in [*rows, ("other.png", "./b.png")])]
    (tmp_path / "in" / "list.csv").write_text("\n".join(lines) + "\n")
    assert sample_csv("--csv", str(tmp_path / "in" / "list.csv")) == 0
    outcomes = (tmp_path / "in" / "list.results.csv").read_text().splitlines()
    assert outcomes[1:] == [
        "1,out is the prior,",
        "2,out is an input of another row,",
        "3,out outside the list's folder,",
        "4,made,nothing_changed finding_not_seen",
        "5,row unusable,",
    ]
    assert (tmp_path / "in" / "chest.png").read_bytes() == chest.read_bytes()
    assert not (tmp_path / "a.png").exists()
    assert sample_csv("--csv", str(tmp_path / "in" / "list.csv"), "--anywhere") == 0
    assert (tmp_path / "a.png").is_file()


@pytest.fixture
def long_list(tmp_path):
    names = [f"{number}.png" for number in range(5)]
    lines = ["prior,description,out", *(f"chest.png,{TEXT},{name}" for name in names)]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")

    def outcomes():
        return [line.split(",")[1] for line in (tmp_path / "list.results.csv").read_text().splitlines()[1:]]

    return outcomes


def test_a_full_disk_is_named_and_ends_a_list(sample_csv, long_list, monkeypatch, capsys):
    from biomedjourney_monai.generation import writer

    save, saved = writer.save_png, []

    def fill(out, *more, **options):
        saved.append(out)
        if len(saved) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(out))
        save(out, *more, **options)

    monkeypatch.setattr(writer, "save_png", fill)
    assert sample_csv() == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: the disk must have space for the pictures; found No space left on device.")
    assert long_list() == ["made", "made", "disk full", "not tried", "not tried"]
    assert sample_csv() == 0
    assert "3 made, 2 kept" in capsys.readouterr().out


def test_a_short_list_that_is_stopped_keeps_what_was_made(sample_csv, long_list, monkeypatch, capsys):
    from biomedjourney_monai.generation.model import CounterfactualModel

    run, seen = CounterfactualModel.run_together, []

    def stop_later(model, requests):
        seen.append(long_list() if seen else [])
        if len(seen) == 2:
            raise KeyboardInterrupt
        return run(model, requests)

    monkeypatch.setattr(CounterfactualModel, "run_together", stop_later)
    assert sample_csv() == 130
    assert seen[1] == [*["made"] * 4, "not tried"] == long_list()
    monkeypatch.undo()
    assert sample_csv() == 0
    assert "1 made, 4 kept" in capsys.readouterr().out
