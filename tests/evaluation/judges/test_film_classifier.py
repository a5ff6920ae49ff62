import numpy as np
import pytest
import torch
from timm import create_model

from biomedjourney_monai.errors import ConfigError, WeightsError
from biomedjourney_monai.evaluation.judges.domain import FeatureDomain
from biomedjourney_monai.evaluation.judges.film_classifier import (
    FINDING_COLUMNS,
    SEEN_SIZE,
    FilmClassifier,
    FilmJudges,
    load_film_judges,
    load_imagenet,
)
from biomedjourney_monai.evaluation.judges.loading import judge_names, load_judges, load_judges_by_name, reload_judges
from biomedjourney_monai.evaluation.judges.phantom import (
    SEGMENTER_FILE,
    PhantomSegmenter,
    classifier_file,
    domain_file,
    save_weights,
)
from biomedjourney_monai.evaluation.judges.scores import score_safely
from biomedjourney_monai.schema import CHEXPERT_LABELS, FINDINGS, STRUCTURES


@pytest.fixture
def imagenet(tmp_path):
    """A network of three colours with random weights, and its file, named as the published one names its tensors."""
    torch.manual_seed(0)
    network = create_model("tf_efficientnet_lite0", num_classes=0).eval()
    tensors = {f"_layer{place}": tensor for place, tensor in enumerate(network.state_dict().values())}
    torch.save(tensors | {"_fc.weight": torch.zeros(1000, 1280)}, tmp_path / "lite0.pth")
    return network, tmp_path / "lite0.pth"


def test_grey_images_are_seen_as_the_published_network_sees_them(imagenet):
    colours, file = imagenet
    network = FilmClassifier().eval()
    load_imagenet(network, file)
    images = torch.rand(2, 1, SEEN_SIZE, SEEN_SIZE) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(
            network.backbone(images), colours(images.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-4
        )


def test_images_of_any_size_are_enlarged(imagenet):
    network = FilmClassifier().eval()
    small = torch.rand(1, 1, 128, 128)
    enlarged = torch.nn.functional.interpolate(small, size=(SEEN_SIZE, SEEN_SIZE), mode="bilinear", antialias=True)
    with torch.inference_mode():
        torch.testing.assert_close(network.features(small), network.features(enlarged))
        assert network.features(small).shape == (1, 256)


@pytest.mark.parametrize("content", ["missing", "bytes", "another network"])
def test_a_file_of_something_else_is_refused(content, tmp_path):
    file = tmp_path / "weights.pth"
    if content == "bytes":
        file.write_bytes(b"not tensors")
    elif content == "another network":
        torch.save({"weight": torch.zeros(3, 3)}, file)
    with pytest.raises(WeightsError, match="EfficientNet-Lite0"):
        load_imagenet(FilmClassifier(), file)


@pytest.fixture
def site(tmp_path):
    """A folder with judges of a site's films that were never trained, which knew no groups."""
    classifier = FilmClassifier()
    classifier.knows_groups.fill_(False)
    save_weights(classifier, tmp_path / classifier_file("site"))
    save_weights(FeatureDomain(256), tmp_path / domain_file("site"))
    save_weights(PhantomSegmenter(), tmp_path / SEGMENTER_FILE)
    return tmp_path


@pytest.mark.parametrize("size", [128, 96])
def test_scores_have_the_promised_shapes_and_ranges(site, size):
    scores = load_film_judges(site, "site").score(torch.rand(3, 1, size, size))
    assert scores.pathology.shape == (3, 5)
    assert ((scores.pathology > 0) & (scores.pathology < 1)).all()
    assert ((scores.sex > 0) & (scores.sex < 1)).all()
    assert scores.race.isnan().all(), "no group was known"
    assert scores.structures.shape == (3, 6, size, size)


def test_the_findings_are_the_right_columns_and_calibrated():
    network = FilmClassifier().eval()
    judges, images = FilmJudges(network, PhantomSegmenter()), torch.rand(2, 1, 128, 128)
    before = judges.finding_logits(images)
    assert [CHEXPERT_LABELS[column] for column in FINDING_COLUMNS] == list(FINDINGS)
    network.calibration[0, FINDING_COLUMNS], network.calibration[1, FINDING_COLUMNS] = 2.0, -1.0
    torch.testing.assert_close(judges.finding_logits(images), 2 * before - 1)
    torch.testing.assert_close(judges.score(images).pathology, (2 * before - 1).sigmoid().detach())


def test_heat_maps_can_follow_the_logits(site):
    image = torch.rand(1, 1, 64, 64, requires_grad=True)
    load_film_judges(site, "site").finding_logits(image).sum().backward()
    assert image.grad.abs().sum() > 0


def test_the_outlines_of_real_films_replace_lungs_and_heart(site):
    judges, images = load_film_judges(site, "site"), torch.rand(2, 1, 64, 64)
    before = judges.score(images).structures

    class HalfOutlined:
        def outline(self, images):
            halves = np.zeros((len(images), 3, *images.shape[-2:]), bool)
            halves[:, 0, :, 32:], halves[:, 1, :, :32] = True, True
            return halves

    judges.outlines = HalfOutlined()
    after = judges.score(images).structures
    assert after[:, STRUCTURES.index("left lung"), :, 32:].all()
    assert after[:, STRUCTURES.index("right lung"), :, :32].all()
    assert not after[:, STRUCTURES.index("heart")].any()
    for name in ("facies diaphragmatica", "mediastinum", "spine"):
        place = STRUCTURES.index(name)
        assert torch.equal(after[:, place], before[:, place])


def test_judges_without_groups_are_no_failure(site):
    scores, faults = score_safely(load_film_judges(site, "site"), torch.rand(3, 1, 128, 128))
    assert faults == {}
    assert len(scores.sex) == 3


def test_judges_are_found_by_name(site):
    assert judge_names(site) == ["phantom", "site"]
    judges = load_judges(site, kind="site")
    assert judges.provenance()["name"] == "site"
    assert set(judges.provenance()["files"]) == {"site_classifier.pt", "site_domain.pt", "phantom_segmenter.pt"}
    assert set(load_judges_by_name(site)) == {"site"}
    again, reason = reload_judges(judges.provenance(), site)
    assert again is not None, reason


def test_an_unknown_name_lists_the_known_ones(site):
    with pytest.raises(ConfigError, match="phantom, site, xrv"):
        load_judges(site, kind="other")


def test_weights_of_another_network_are_refused(site):
    save_weights(torch.nn.Linear(2, 2), site / classifier_file("site"))
    with pytest.raises(WeightsError, match="FilmClassifier"):
        load_film_judges(site, "site")
