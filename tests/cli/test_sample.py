import json

import numpy as np
import pytest
from PIL import Image

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.networks.weights import weights_hash
from biomedjourney_monai.radiographs import NOT_FOR_DIAGNOSIS, mark_synthetic, read_png

TEXT = "New large left pleural effusion."


@pytest.fixture
def chest(tmp_path):
    path = tmp_path / "chest.png"
    rows, columns = np.mgrid[:180, :150]
    Image.fromarray(
        (200 - 150 * np.exp(-(((columns - 50) / 25) ** 2 + ((rows - 80) / 50) ** 2))).astype(np.uint8)
    ).save(path)
    return path


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
        assert sample_one("--seed", seed, out=out) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert not np.array_equal(read_png(tmp_path / "a.png"), read_png(tmp_path / "c.png"))


def test_the_description_decides(sample_one, tmp_path):
    sample_one(out="a.png")
    sample_one(out="b.png", description="No acute cardiopulmonary process.")
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
    assert_refused(sample_one(prior=tmp_path / "small.png"), capsys, "at least 96")
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
        (["--work", "work"], "one image or one working folder"),
        (["--out", "made.jpg"], "--out must be a PNG"),
        (["--out", ""], "a file to write"),
        (["--description", "  "], "needs a description"),
        (["--model", "nowhere.pt"], "nowhere.pt must exist"),
        (["--bundle", "nowhere"], "nowhere must be a bundle folder"),
        (["--batch-size", "0"], "--batch-size must be >= 1"),
        (["--limit", "0"], "--limit must be >= 1"),
    ],
)
def test_wrong_arguments_are_one_line(sample_one, tmp_path, capsys, more, message):
    assert_refused(sample_one(*more), capsys, message)
    assert not (tmp_path / "out").exists()


def test_without_an_image_or_a_folder_both_ways_are_shown(capsys):
    assert main(["sample"]) == 2
    assert "--prior IMAGE --description TEXT --out FILE, or --work DIR" in capsys.readouterr().err


def test_an_output_that_is_a_folder_is_one_line(sample_one, tmp_path, capsys):
    (tmp_path / "out" / "made.png").mkdir(parents=True)
    assert sample_one() == 2
    assert "Is a directory" in capsys.readouterr().err
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
