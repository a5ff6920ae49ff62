import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.errors import ConfigError, WeightsError
from biomedjourney_monai.evaluation.judges.domain import FeatureDomain
from biomedjourney_monai.evaluation.judges.film_classifier import FilmClassifier
from biomedjourney_monai.evaluation.judges.loading import choose_judges, load_judges
from biomedjourney_monai.evaluation.judges.phantom import (
    CLASSIFIER_FILE,
    DOMAIN_FILE,
    PhantomClassifier,
    classifier_file,
    domain_file,
    save_weights,
)


@pytest.fixture(scope="module")
def judges(models):
    return load_judges(models)


@pytest.mark.parametrize("size", [128, 96])
def test_scores_have_the_promised_shapes_and_ranges(judges, size):
    scores = judges.score(torch.rand(3, 1, size, size))
    assert scores.pathology.shape == (3, 5)
    assert ((scores.pathology >= 0) & (scores.pathology <= 1)).all()
    torch.testing.assert_close(scores.race.sum(dim=1), torch.ones(3))
    assert scores.age.shape == (3,)
    assert scores.structures.shape == (3, 6, size, size)
    assert scores.structures.dtype == torch.bool
    assert scores.as_columns().shape == (3, 9)


def test_an_image_is_scored_alike_in_any_batch(judges):
    images = torch.rand(4, 1, 128, 128)
    together, alone = judges.score(images), judges.score(images[2:3])
    torch.testing.assert_close(together.as_columns()[2:3], alone.as_columns(), atol=1e-4, rtol=1e-4)


def test_unfinite_pixels_are_refused(judges):
    images = torch.rand(1, 1, 128, 128)
    images[0, 0, 5, 5] = np.nan
    with pytest.raises(ValueError, match="finite"):
        judges.score(images)


def test_wrong_shape_is_refused(judges):
    with pytest.raises(ValueError, match=r"\(B, 1, H, W\)"):
        judges.score(torch.rand(2, 3, 64, 64))


def test_provenance_names_the_files_by_hash(judges):
    files = judges.provenance()["files"]
    assert set(files) == {"phantom_classifier.pt", "phantom_segmenter.pt"}
    assert all(len(sha256) == 64 for sha256 in files.values())


def test_missing_weights_say_which_file_goes_where(tmp_path):
    with pytest.raises(WeightsError, match=f"{CLASSIFIER_FILE}.*train-judges"):
        load_judges(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 truncated"])
def test_damaged_weights_are_refused(tmp_path, content):
    (tmp_path / CLASSIFIER_FILE).write_bytes(content)
    with pytest.raises(WeightsError, match="must hold the tensors of PhantomClassifier"):
        load_judges(tmp_path)


def test_weights_of_another_network_are_refused(tmp_path):
    save_weights(torch.nn.Linear(2, 2), tmp_path / CLASSIFIER_FILE)
    with pytest.raises(WeightsError, match="must hold the tensors"):
        load_judges(tmp_path)


def test_weights_that_carry_code_are_refused(tmp_path):
    torch.save({"weights": print}, tmp_path / CLASSIFIER_FILE)
    with pytest.raises(WeightsError):
        load_judges(tmp_path)


def test_weights_survive_saving(tmp_path):
    network, again = PhantomClassifier().eval(), PhantomClassifier().eval()
    save_weights(network, tmp_path / "weights.pt")
    again.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    image = torch.rand(1, 1, 128, 128)
    torch.testing.assert_close(network(image)[0], again(image)[0], atol=0.02, rtol=0.02)


def test_the_images_of_a_result_are_scored_like_a_batch(judges):
    squares = np.random.default_rng(0).random((2, 32, 32)).astype(np.float32)
    scored = judges.score(SimpleNamespace(squares=squares))
    expected = judges.score(torch.from_numpy(squares)[:, None])
    torch.testing.assert_close(scored.as_columns(), expected.as_columns())


def test_clinical_judges_need_a_folder_of_weights():
    with pytest.raises(ConfigError, match="--judge-weights"):
        load_judges(kind="xrv")


def two_judges(models, folder, *, phantom_limit, site_limit):
    """Judges with domains whose limits, not their untrained features, decide which is nearer."""
    shutil.copytree(models, folder)
    phantom, site = FeatureDomain(272), FeatureDomain(256)
    phantom.limit.fill_(phantom_limit)
    site.limit.fill_(site_limit)
    save_weights(phantom, folder / DOMAIN_FILE)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_weights(FilmClassifier(), folder / classifier_file("site"))
    save_weights(site, folder / domain_file("site"))
    return folder


def test_the_priors_choose_the_nearest_judges(models, baseline_work, tmp_path):
    folder = two_judges(models, tmp_path / "models", phantom_limit=0.001, site_limit=1000)
    judges, choice = choose_judges(baseline_work, folder)
    assert judges.name == "site"
    assert choice["chosen"] == "auto"
    assert choice["inside"] is True
    assert choice["distance"] <= 1


def test_a_name_is_taken_as_it_is(models, baseline_work, tmp_path):
    folder = two_judges(models, tmp_path / "models", phantom_limit=0.001, site_limit=1000)
    judges, choice = choose_judges(baseline_work, folder, kind="phantom")
    assert judges.name == "phantom"
    assert choice == {"chosen": "by name"}


def test_judges_without_a_domain_are_taken_where_there_are_no_others(models, baseline_work):
    judges, choice = choose_judges(baseline_work, models)
    assert judges.name == "phantom"
    assert choice == {"chosen": "the only ones"}


def test_evaluate_names_its_judges_and_warns_outside_their_domain(models, baseline_work, tmp_path, capsys):
    folder = two_judges(models, tmp_path / "models", phantom_limit=0.0011, site_limit=0.001)
    assert main(["evaluate", "--work", str(baseline_work), "--judge-weights", str(folder), "--bootstrap", "2"]) == 0
    printed = capsys.readouterr().out
    assert "judges: " in printed
    assert "no judges were trained on pictures like these" in printed
