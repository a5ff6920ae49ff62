import shutil

import torch

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.evaluation.judges.choice import choose_judges
from biomedjourney_monai.evaluation.judges.domain import FeatureDomain
from biomedjourney_monai.evaluation.judges.film_classifier import FilmClassifier
from biomedjourney_monai.evaluation.judges.phantom import DOMAIN_FILE, classifier_file, domain_file, save_weights


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
